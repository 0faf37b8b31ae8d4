"""rosinality's stylegan2-pytorch, and the `decoder.` of pSp, e4e and restyle: `style.{i}`, `convs.{i}`, `to_rgbs.{i}`.

Its convolutions are scaled before demodulation, nothing is clamped, and the mean of w may lie beside the weights.
"""

from __future__ import annotations

import math

from gan_export.errors import printable
from gan_export.graph.layers import Shape
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError, Module
from gan_export.recognize.style import StyleBuilder
from gan_export.recognize.style_parts import Dense, Mapping, StyledConv

MAPPING_RATE = 0.01


def _arrays(draft: SpecBuilder, path: str, *names: str) -> Module:
    module = draft.module(path)
    if set(module.arrays) != set(names):
        raise DoesNotFitError(f"{printable(path, 80)} is {module}", tuple(f"{path}.{n}" for n in names))
    draft.used.add(module.key)
    return module


def _dense(draft: SpecBuilder, path: str, rate: float, active: bool) -> Dense:
    module = _arrays(draft, path, "weight", "bias")
    inside, out = module.linear
    if module.arrays["bias"] != (out,):
        raise DoesNotFitError(f"{path} is {module}")
    return Dense(f"{module.key}.weight", f"{module.key}.bias", (out, inside), rate / math.sqrt(inside), rate, active)


def _weight(draft: SpecBuilder, path: str, kernel: int) -> tuple[str, Shape]:
    """The key of a weight (1, O, I, k, k), and (O, I, k, k)."""
    module = _arrays(draft, path, "weight")
    one, *shape = module.weight or (0,)
    if one != 1 or len(shape) != 4 or shape[2:] != [kernel, kernel]:
        raise DoesNotFitError(f"{path} is {module}, not (1, O, I, {kernel}, {kernel})")
    return f"{module.key}.weight", tuple(shape)


def _kernel(draft: SpecBuilder, path: str) -> str:
    module = _arrays(draft, path, "kernel")
    if module.arrays["kernel"] != (4, 4):
        raise DoesNotFitError(f"{path}.kernel is {module.arrays['kernel']}, not (4, 4)")
    return f"{module.key}.kernel"


def _styled(draft: SpecBuilder, path: str, number: int, noises: Module) -> StyledConv:
    up = number > 0 and number % 2 == 1
    weight, shape = _weight(draft, f"{path}.conv", 3)
    bias = _arrays(draft, f"{path}.activate", "bias")
    strength = _arrays(draft, f"{path}.noise", "weight")
    if bias.arrays["bias"] != shape[:1] or strength.weight != (1,):
        raise DoesNotFitError(f"{path}.activate is {bias}, and {path}.noise {strength}")
    return StyledConv(
        path.replace(".", ""), _dense(draft, f"{path}.conv.modulation", 1.0, active=False), weight, shape,
        f"{bias.key}.bias", scale=1 / math.sqrt(shape[1] * 9), taps_gain=1.0,
        taps=_kernel(draft, f"{path}.conv.blur") if up else None,
        noise=(f"{noises.key}.noise_{number}", f"{strength.key}.weight"), side=_side(number),
    )  # fmt: skip


def _side(number: int) -> int:
    return 1 << ((number + 5) // 2)


def _to_rgb(draft: SpecBuilder, path: str) -> StyledConv:
    weight, shape = _weight(draft, f"{path}.conv", 1)
    bias = _arrays(draft, path, "bias")
    if bias.arrays["bias"] != (1, shape[0], 1, 1):
        raise DoesNotFitError(f"{path} is {bias}")
    affine = _dense(draft, f"{path}.conv.modulation", 1.0, active=False).scaled(1 / math.sqrt(shape[1]))
    return StyledConv(path.replace(".", ""), affine, weight, shape, f"{bias.key}.bias")


def _build(draft: SpecBuilder) -> None:
    numbers = [i for i, _ in draft.numbered("style.#", first=(1,))]
    layers = tuple(_dense(draft, f"style.{i}", MAPPING_RATE, active=True) for i in numbers)
    width = layers[0].shape[1]
    if any(layer.shape != (width, width) for layer in layers):
        raise DoesNotFitError("the layers of style aren't all of one width")
    stages = len(draft.numbered("to_rgbs.#.conv"))
    if len(draft.numbered("convs.#.conv")) != 2 * stages:
        raise DoesNotFitError("convs and to_rgbs don't belong to each other", (f"convs.{2 * stages - 1}.conv.weight",))
    rows = 2 * stages + 2
    constant = _arrays(draft, "input", "input")
    shape = constant.arrays["input"]
    if len(shape) != 4 or shape[0] != 1 or shape[2:] != (4, 4):
        raise DoesNotFitError(f"input.input is {shape}, not (1, C, 4, 4)")
    noises = _arrays(draft, "noises", *(f"noise_{i}" for i in range(rows - 1)))
    sides = tuple(_side(i) for i in range(rows - 1))
    if odd := next((i for i, r in enumerate(sides) if noises.arrays[f"noise_{i}"] != (1, 1, r, r)), None):
        raise DoesNotFitError(f"noises.noise_{odd} is {noises.arrays[f'noise_{odd}']}")
    parts = StyleBuilder(draft)
    parts.start(Mapping(layers, None, _center(draft, width), rows), "const", sides)
    x = parts.conv(_styled(draft, "conv1", 0, noises), None, parts.ws[0], f"{constant.key}.input", shape[1:])
    image = parts.to_image(_to_rgb(draft, "to_rgb1"), x, parts.ws[1])
    for k in range(stages):
        x = parts.conv(_styled(draft, f"convs.{2 * k}", 2 * k + 1, noises), x, parts.ws[2 * k + 1])
        x = parts.conv(_styled(draft, f"convs.{2 * k + 1}", 2 * k + 2, noises), x, parts.ws[2 * k + 2])
        wide = parts.enlarge(f"image_up{k}", image, _kernel(draft, f"to_rgbs.{k}.upsample"), 1.0)
        image = parts.plus(f"image{k}", parts.to_image(_to_rgb(draft, f"to_rgbs.{k}"), x, parts.ws[2 * k + 3]), wide)
    draft.assumed.append(Assumption("the mapping's learning rate multiplier is", f"{MAPPING_RATE:g}", ""))
    if parts.noise == "const":
        draft.notes.append("its own code adds new noise to each image by default; here it is the stored noise")


def _center(draft: SpecBuilder, width: int) -> str | None:
    """The key of `latent_avg`, (w,) or a row for each layer, all the same."""
    module = draft.maybe("")
    if module is None or "latent_avg" not in module.arrays:
        return None
    module = _arrays(draft, "", "latent_avg")
    if module.arrays["latent_avg"][-1:] != (width,):
        raise DoesNotFitError(f"latent_avg is {module.arrays['latent_avg']}, not ({width},)")
    return "latent_avg"


FAMILY = Family("stylegan2_rosinality", "rosinality's stylegan2-pytorch, and pSp's decoder", _build, output="none")
