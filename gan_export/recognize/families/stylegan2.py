"""NVlabs' StyleGAN2: stylegan2-ada-pytorch, and stylegan3's `--cfg=stylegan2`.

`mapping.fc{i}`, `mapping.w_avg`, `synthesis.b{r}.{const,conv0,conv1,torgb,skip}`.  A pickle of NVlabs' own says how its
layers are set (clamps, gains, architecture); of a state dict, what their training scripts give is assumed.
"""

from __future__ import annotations

import math

from gan_export.errors import GanExportError
from gan_export.graph.layers import Conv
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.nvlabs import CLAMP, NvlabsFile, limit_of, mapping_of, number
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError
from gan_export.recognize.style import StyleBuilder
from gan_export.recognize.style_parts import StyledConv

ACTIVE = math.sqrt(2)


def _resolutions(draft: SpecBuilder) -> list[int]:
    """The sides of the blocks, none missing; what has the names of a block is near, whatever it lacks."""
    named = draft.matching(r"(?:synthesis\.b\d{1,4}|mapping)(?:\..+)?")
    draft.named.update(module.key for _, module in named)
    found = sorted(int(r) for (r,), _ in draft.matching(r"synthesis\.b(\d{1,4})\.conv1"))
    if absent := [r for i in range(len(found) or 1) if (r := 4 << i) not in found]:
        raise DoesNotFitError(f"no synthesis.b{absent[0]}.conv1", (f"synthesis.b{absent[0]}.conv1.weight",))
    return found


def _build(draft: SpecBuilder) -> None:
    file = NvlabsFile(draft)
    resolutions = _resolutions(draft)
    last = resolutions[-1]
    has_image = [draft.maybe(f"synthesis.b{r}.torgb") is not None for r in resolutions]
    has_skip = [draft.maybe(f"synthesis.b{r}.skip") is not None for r in resolutions[1:]]
    if any(has_skip) and not all(has_skip):
        raise DoesNotFitError("some blocks have a skip, and some have none")
    architecture = "resnet" if any(has_skip) else "skip" if all(has_image) else "orig"
    if not has_image[-1] or (architecture != "skip" and any(has_image[:-1])):
        raise DoesNotFitError("torgb is in none, or only in some of the blocks")
    parts = StyleBuilder(draft)
    mapping = mapping_of(file, 2 * len(resolutions))
    channels = draft.module(f"synthesis.b{last}.torgb").conv[1]
    draft.settings("", "Generator", z_dim=mapping.nz, w_dim=mapping.width, img_resolution=last, img_channels=channels,
                   c_dim=mapping.classes)  # fmt: skip
    draft.settings("synthesis", "SynthesisNetwork", w_dim=mapping.width, img_resolution=last, num_ws=mapping.rows)
    noisy = [r for r, path in _convs(resolutions) if "noise_const" in draft.module(path).arrays]
    parts.start(mapping, "const", tuple(noisy))
    x = image = None
    at = 0
    for r in resolutions:
        own = ("const", "resample_filter") if r == 4 else ("resample_filter",)
        block = file.arrays(f"synthesis.b{r}", *own)
        if block.arrays["resample_filter"] != (4, 4):
            raise DoesNotFitError(f"synthesis.b{r}.resample_filter is {block.arrays['resample_filter']}, not (4, 4)")
        draft.settings(block.key, "SynthesisBlock", resolution=r, is_last=r == last, architecture=architecture)
        if r == 4:
            constant, shape = f"{block.key}.const", block.arrays["const"]
            if len(shape) != 3 or shape[1:] != (4, 4):
                raise DoesNotFitError(f"synthesis.b4.const is {shape}")
            x = parts.conv(_styled(file, r, "conv1", 1.0), None, parts.ws[at], constant, shape)
        else:
            assert x is not None
            gain = math.sqrt(0.5) if architecture == "resnet" else 1.0
            short = _skip(file, parts, r, x) if architecture == "resnet" else None
            x = parts.conv(_styled(file, r, "conv0", 1.0), x, parts.ws[at])
            at += 1
            x = parts.conv(_styled(file, r, "conv1", gain), x, parts.ws[at])
            x = x if short is None else parts.plus(f"b{r}_sum", short, x)
        at += 1
        if image is not None:
            image = parts.enlarge(f"b{r}_image_up", image, f"{block.key}.resample_filter", 4.0)
        if r == last or architecture == "skip":
            made = parts.to_image(_to_rgb(file, r), x, parts.ws[at])
            image = made if image is None else parts.plus(f"b{r}_image", image, made)
    if file.from_tensorflow:
        draft.notes.append(
            "a TensorFlow file: its variables were read as data, and the "
            f"{draft.state.config['source']:,} characters of source code in it were not run"
        )
    elif not draft.state.settings:
        draft.assumed.append(Assumption("each layer's values are clamped to", f"±{CLAMP:g}", ""))
    elif any(s.values.get("use_fp16") for s in draft.state.settings.values()):
        draft.notes.append("NVlabs' code runs its largest blocks in float16 on a GPU; here all are float32")


def _convs(resolutions: list[int]) -> list[tuple[int, str]]:
    """Return (size, path) of each convolution that takes noise, in order."""
    return [(r, f"synthesis.b{r}.{n}") for r in resolutions for n in ("conv0", "conv1") if r > 4 or n == "conv1"]


def _styled(file: NvlabsFile, r: int, name: str, gain: float) -> StyledConv:
    path = f"synthesis.b{r}.{name}"
    up = 2 if name == "conv0" else 1
    shape, settings = file.conv(
        path,
        "SynthesisLayer",
        3,
        ("weight", "bias", "resample_filter"),
        up=up,
        resolution=r,
        activation="lrelu",
        padding=1,
    )
    module = file.draft.module(path)
    plane, strength = f"{module.key}.noise_const", f"{module.key}.noise_strength"
    noisy = "noise_const" in module.arrays
    if noisy and (module.arrays["noise_const"] != (r, r) or strength not in file.draft.state.scalars):
        raise DoesNotFitError(f"{path}: noise_const and noise_strength don't fit", (strength,))
    if noisy:
        file.draft.used_keys.add(strength)  # also if noise is left out
    if settings and settings.get("use_noise", noisy) != noisy:
        raise GanExportError(f"{path} says use_noise {settings['use_noise']}, its arrays say {noisy}: not read")
    return StyledConv(
        f"b{r}_{name}", file.dense(f"{path}.affine", 1.0, active=False), f"{module.key}.weight", shape,
        f"{module.key}.bias", taps=f"{module.key}.resample_filter" if up == 2 else None,
        noise=(plane, strength) if noisy else None, side=r,
        gain=number(settings, path, "act_gain", ACTIVE) * gain, clamp=limit_of(file, settings, path, gain),
    )  # fmt: skip


def _to_rgb(file: NvlabsFile, r: int) -> StyledConv:
    path = f"synthesis.b{r}.torgb"
    shape, settings = file.conv(path, "ToRGBLayer", 1, ("weight", "bias"))
    key = file.draft.module(path).key
    gain = number(settings, path, "weight_gain", 1 / math.sqrt(shape[1]))
    affine = file.dense(f"{path}.affine", 1.0, active=False).scaled(gain)
    return StyledConv(
        f"b{r}_torgb", affine, f"{key}.weight", shape, f"{key}.bias", clamp=limit_of(file, settings, path)
    )


def _skip(file: NvlabsFile, parts: StyleBuilder, r: int, x: str) -> str:
    """The resnet's way around: 1x1, then twice the size; √½ of it."""
    draft, path, name = file.draft, f"synthesis.b{r}.skip", f"b{r}_skip"
    known = {"up": 2, "activation": "linear", "conv_clamp": None, "padding": 0}
    shape, settings = file.conv(path, "Conv2dLayer", 1, ("weight", "resample_filter"), **known)
    key = draft.module(path).key
    gain = number(settings, path, "weight_gain", 1 / math.sqrt(shape[1])) * number(settings, path, "act_gain", 1.0)
    draft.add(Conv, name, inputs=(x,), in_channels=shape[1], out_channels=shape[0], kernel=1, bias=False)
    draft.derive(f"{name}.weight", (f"{key}.weight",), shape, lambda v: v * gain * math.sqrt(0.5))
    return parts.enlarge(f"{name}_up", name, f"{key}.resample_filter", 4.0)


FAMILY = Family("stylegan2", "NVlabs' StyleGAN2 (stylegan2-ada-pytorch, stylegan3)", _build, output="none")
