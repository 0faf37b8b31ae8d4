"""FastGAN (Liu et al. 2021) and Projected GAN's version: `init.init`, `feat_8` ... `feat_1024`, `se_64` ..., `to_big`.

Projected GAN normalizes z and has a bias in `to_big`.  The original has neither; it ends in tanh only at 1024.
"""

from __future__ import annotations

from gan_export.errors import GanExportError
from gan_export.graph.layers import (
    Activation,
    AddNoise,
    AvgPool,
    Channels,
    Conv,
    ConvTranspose,
    Multiply,
    PixelNorm,
    Reshape,
    ScaleChannels,
)
from gan_export.graph.ports import Normal, Port
from gan_export.graph.signature import Signature
from gan_export.recognize.builder import DoesNotFitError, Family, SpecBuilder
from gan_export.recognize.state_dict import Module

_SIDES = (8, 16, 32, 64, 128, 256, 512, 1024)
_GATES = {64: 4, 128: 8, 256: 16, 512: 32}  # side of a map -> side of the smaller map that gates its channels
_GATE_SIDE = 4
_EPS = 1e-8


def _build(draft: SpecBuilder) -> None:
    last = draft.module("to_big")
    if draft.state.embeddings:
        raise DoesNotFitError("a class-conditional FastGAN, whose norms take the label, is not supported")
    first = draft.module("init.init.0")
    projected = last.bias
    sides = _sides(draft, last)
    nz = first.transposed[0]
    noised = [side for side in sides for index in (2, 6) if _noise(draft, side, index) is not None]
    noise = draft.choice("noise", "none", "the noise that its code adds, new in every call") if noised else "none"
    if noise == "const":
        raise GanExportError("noise=const: the file stores no noise; none or seed")
    noises = [Port(f"noise{i}", "noise", (1, side, side), prior=Normal()) for i, side in enumerate(noised)]
    draft.takes(*Signature.of_latent(nz, "normal", (1, 1, 1), 0, None).inputs, *(noises if noise == "seed" else ()))
    if projected:
        draft.add(PixelNorm, "z_norm", eps=_EPS)
    draft.add(Reshape, "seed", shape=(nz, 1, 1))
    width = first.transposed[1]
    draft.add(
        ConvTranspose, "init", first, in_channels=nz, out_channels=width, kernel=4, stride=1, padding=0, bias=False
    )
    draft.batch_norm("init_bn", draft.module("init.init.1"))
    maps = {4: _gated_unit(draft, "init_glu")}
    ports = iter(noises)
    for side in sides:
        path, name = f"feat_{side}", f"b{side}"
        draft.upsample(f"{name}_up")
        for number, (conv, strength, norm) in enumerate(_parts(draft, side)):
            _conv(draft, f"{name}_conv{number}", draft.module(f"{path}.{conv}"))
            if strength is not None:
                _add_noise(draft, f"{name}_noise{number}", strength, next(ports).name if noise == "seed" else None)
            draft.batch_norm(f"{name}_bn{number}", draft.module(f"{path}.{norm}"))
            _gated_unit(draft, f"{name}_glu{number}")
        if side in _GATES:
            _gate(draft, f"se_{side}", maps[_GATES[side]])
        maps[side] = draft.last
    draft.conv("to_image", last)
    if side == _SIDES[-1] and not projected:
        draft.add(Activation, "tanh", kind="tanh")
        draft.range = (-1.0, 1.0)
    _leave_out(draft, sides)


def _sides(draft: SpecBuilder, last: Module) -> tuple[int, ...]:
    """Return the sides of the blocks in use; Projected GAN at 128 has blocks of 256 that it doesn't run."""
    found = []
    for side in _SIDES:
        if draft.maybe(f"feat_{side}.1") is None:
            break
        found.append(side)
    while found and 2 * last.conv[0] != draft.module(f"feat_{found[-1]}.{_last_conv(draft, found[-1])}").conv[1]:
        found.pop()
    if not found or found[-1] < 2 * _SIDES[0]:
        raise DoesNotFitError("no feat_ block gives the channels that to_big takes", ("feat_8.1.weight",))
    return tuple(found)


def _last_conv(draft: SpecBuilder, side: int) -> int:
    return 1 if draft.maybe(f"feat_{side}.5") is None else 5


def _noise(draft: SpecBuilder, side: int, index: int) -> Module | None:
    module = draft.maybe(f"feat_{side}.{index}")
    return module if module is not None and dict(module.arrays) == {"weight": (1,)} else None


def _parts(draft: SpecBuilder, side: int) -> list[tuple[int, Module | None, int]]:
    """Return, for each convolution, its index, the noise after it, and the index of its norm."""
    if draft.maybe(f"feat_{side}.5") is None:
        return [(1, None, 2)]
    return [(1, _noise(draft, side, 2), 3), (5, _noise(draft, side, 6), 7)]


def _conv(draft: SpecBuilder, name: str, module: Module) -> None:
    if module.bias or module.kernel != 3:
        raise DoesNotFitError(f"{module.key} is {module}, not a convolution of 3x3 without a bias")
    draft.conv(name, module)


def _add_noise(draft: SpecBuilder, name: str, strength: Module, port: str | None) -> None:
    if port is None:
        draft.used.add(strength.key)
    else:
        draft.add(AddNoise, name, strength, inputs=(draft.last, port))


def _gated_unit(draft: SpecBuilder, name: str) -> str:
    """Append the product of the first half of the channels and a sigmoid of the second half; return its name."""
    x, channels = draft.last, draft.shape[0]
    if channels % 2:
        raise DoesNotFitError(f"{channels} channels before a gated linear unit")
    value = draft.add(Channels, f"{name}_value", inputs=(x,), start=0, count=channels // 2)
    draft.add(Channels, f"{name}_gate", inputs=(x,), start=channels // 2, count=channels // 2)
    gate = draft.add(Activation, f"{name}_sigmoid", kind="sigmoid")
    return draft.add(Multiply, name, inputs=(value, gate))


def _gate(draft: SpecBuilder, path: str, small: str) -> None:
    """Scale the channels by gates from the map `small`: pooled to 4x4, 4x4 convolution, Swish, 1x1, sigmoid."""
    x, side = draft.last, draft.shapes[small][1]
    draft.chain.last = small
    if side > _GATE_SIDE:
        draft.add(AvgPool, f"{path}_pool", size=side // _GATE_SIDE)
    for number, (index, kernel) in enumerate(((1, _GATE_SIDE), (3, 1))):
        module = draft.module(f"{path}.main.{index}")
        inside, out = module.conv
        draft.add(
            Conv, f"{path}_conv{number}", module, in_channels=inside, out_channels=out, kernel=kernel, padding=0,
            bias=False,
        )  # fmt: skip
        value = draft.last
        gate = draft.add(Activation, f"{path}_sigmoid{number}", kind="sigmoid")
        if number == 0:
            draft.add(Multiply, f"{path}_swish", inputs=(value, gate))
    draft.add(Reshape, f"{path}_row", shape=(draft.shape[0],))
    draft.add(ScaleChannels, path, inputs=(x, draft.last))


def _leave_out(draft: SpecBuilder, sides: tuple[int, ...]) -> None:
    """Leave out the modules that the last image doesn't need: a second, smaller output, and blocks that don't run."""
    other = [m for (name,), m in draft.matching(r"(to_128)")]
    unused = [
        m for (side,), m in draft.matching(r"(?:feat|se)_(\d{1,4})\..+") if int(side) not in sides
    ]  # fmt: skip
    for module in (*other, *unused):
        draft.used.add(module.key)
    if other:
        draft.notes.append("to_128, a second output of 128x128, is left out")
    if unused:
        draft.notes.append(f"blocks beyond {sides[-1]}x{sides[-1]}, which its code doesn't run, are left out")


FAMILY = Family("fastgan", "FastGAN and Projected GAN's FastGAN", _build, output="none")
