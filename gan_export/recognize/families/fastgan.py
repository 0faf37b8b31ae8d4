"""FastGAN (Liu et al. 2021) and Projected GAN's version: `init.init`, `feat_8` ... `feat_1024`, `se_64` ..., `to_big`.

Projected GAN normalizes z and has a bias in `to_big`.  The original has neither; it ends in tanh only at 1024.
With classes, Projected GAN's blocks have named parts, `feat_8.conv1` ..., and norms that take the label's `embed`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gan_export.errors import GanExportError
from gan_export.graph.layers import (
    Activation,
    AddNoise,
    AvgPool,
    Conv,
    ConvTranspose,
    Embedding,
    PixelNorm,
    Reshape,
    ScaleChannels,
)
from gan_export.graph.ports import Normal, Port
from gan_export.graph.signature import Signature
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conditional_norm import OfLabel, Statistics, conditional_norm
from gan_export.recognize.draft import Family
from gan_export.recognize.gates import gated_unit, silu
from gan_export.recognize.state_dict import DoesNotFitError, Module

_SIDES = (8, 16, 32, 64, 128, 256, 512, 1024)
_GATES = {64: 4, 128: 8, 256: 16, 512: 32}  # side of a map -> side of the smaller map that gates its channels
_GATE_SIDE = 4
_EPS = 1e-8
_BN_EPS = 1e-5  # of the norms that take the label


def _build(draft: SpecBuilder) -> None:
    last = draft.module("to_big")
    first = draft.module("init.init.0")
    projected = last.bias
    sides = _sides(draft, last)
    nz = first.transposed[0]
    steps = {side: _steps(draft, side) for side in sides}
    noised = [side for side in sides for step in steps[side] if step.noise is not None]
    noise = draft.choice("noise", "none", "the noise that its code adds, new in every call") if noised else "none"
    if noise == "const":
        raise GanExportError("noise=const: the file stores no noise; none or seed")
    noises = [Port(f"noise{i}", "noise", (1, side, side), prior=Normal()) for i, side in enumerate(noised)]
    embedding = _embedding(draft)
    classes = embedding.weight[0] if embedding else 0
    latent = Signature.of_latent(nz, "normal", (1, 1, 1), classes, None).inputs
    draft.takes(*latent, *(noises if noise == "seed" else ()))
    if embedding:
        draft.classes = classes
        draft.add(Embedding, "embed", embedding, inputs=("label",), classes=classes, dim=embedding.weight[1])
        draft.chain.last = "z"
    if projected:
        draft.add(PixelNorm, "z_norm", eps=_EPS)
    draft.add(Reshape, "seed", shape=(nz, 1, 1))
    width = first.transposed[1]
    draft.add(
        ConvTranspose, "init", first, in_channels=nz, out_channels=width, kernel=4, stride=1, padding=0, bias=False
    )
    draft.batch_norm("init_bn", draft.module("init.init.1"))
    maps = {4: gated_unit(draft, "init_glu")}
    ports = iter(noises)
    for side in sides:
        name = f"b{side}"
        draft.upsample(f"{name}_up")
        for number, step in enumerate(steps[side]):
            _conv(draft, f"{name}_conv{number}", draft.module(step.conv))
            if step.noise is not None:
                _add_noise(draft, f"{name}_noise{number}", step.noise, next(ports).name if noise == "seed" else None)
            if classes:
                _label_norm(draft, step.norm, f"{name}_bn{number}")
            else:
                draft.batch_norm(f"{name}_bn{number}", draft.module(step.norm))
            gated_unit(draft, f"{name}_glu{number}")
        if side in _GATES:
            _gate(draft, f"se_{side}", maps[_GATES[side]])
        maps[side] = draft.last
    draft.conv("to_image", last)
    if side == _SIDES[-1] and not projected:
        draft.add(Activation, "tanh", kind="tanh")
        draft.range = (-1.0, 1.0)
    _leave_out(draft, sides)


@dataclass(frozen=True, slots=True)
class _Step:
    """A convolution of a block, by the paths of its parts."""

    conv: str
    noise: Module | None
    norm: str


def _steps(draft: SpecBuilder, side: int) -> tuple[_Step, ...]:
    """Return the convolutions of a block; none if there is no such block.  Classes: both take one noise's strength."""
    path = f"feat_{side}"
    if draft.maybe(f"{path}.conv1") is not None:
        noise = _noise(draft, f"{path}.noise")
        return tuple(_Step(f"{path}.conv{k}", noise, f"{path}.bn{k}") for k in (1, 2))
    if draft.maybe(f"{path}.conv") is not None:
        return (_Step(f"{path}.conv", None, f"{path}.bn"),)
    if draft.maybe(f"{path}.1") is None:
        return ()
    if draft.maybe(f"{path}.5") is None:
        return (_Step(f"{path}.1", None, f"{path}.2"),)
    noises = [_noise(draft, f"{path}.{index}") for index in (2, 6)]
    return (_Step(f"{path}.1", noises[0], f"{path}.3"), _Step(f"{path}.5", noises[1], f"{path}.7"))


def _sides(draft: SpecBuilder, last: Module) -> tuple[int, ...]:
    """Return the sides of the blocks in use; Projected GAN at 128 has blocks of 256 that it doesn't run."""
    found: list[int] = []
    for side in _SIDES:
        if not _steps(draft, side):
            break
        found.append(side)
    while found and 2 * last.conv[0] != draft.module(_steps(draft, found[-1])[-1].conv).conv[1]:
        found.pop()
    if not found or found[-1] < 2 * _SIDES[0]:
        raise DoesNotFitError("no feat_ block gives the channels that to_big takes", ("feat_8.1.weight",))
    return tuple(found)


def _noise(draft: SpecBuilder, path: str) -> Module | None:
    module = draft.maybe(path)
    return module if module is not None and dict(module.arrays) == {"weight": (1,)} else None


def _embedding(draft: SpecBuilder) -> Module | None:
    """Return the label's Embedding, if the generator has one."""
    found = draft.state.embeddings
    if len(found) > 1:
        raise DoesNotFitError(f"{len(found)} embeddings, of which FastGAN has at most one")
    return found[0] if found else None


def _label_norm(draft: SpecBuilder, path: str, name: str) -> None:
    """Append the norm that the label scales and shifts."""
    stored, gain, shift = (draft.module(p) for p in (path, f"{path}.gain", f"{path}.bias"))
    draft.used.update(m.key for m in (stored, gain, shift))
    conditional_norm(
        draft, name, x=draft.last, y="embed", stored=Statistics(stored), eps=_BN_EPS,
        gain=OfLabel(gain, (f"{gain.key}.weight",), bias=gain.bias),
        shift=OfLabel(shift, (f"{shift.key}.weight",), bias=shift.bias),
    )  # fmt: skip


def _conv(draft: SpecBuilder, name: str, module: Module) -> None:
    if module.bias or module.kernel != 3:
        raise DoesNotFitError(f"{module.key} is {module}, not a convolution of 3x3 without a bias")
    draft.conv(name, module)


def _add_noise(draft: SpecBuilder, name: str, strength: Module, port: str | None) -> None:
    draft.used.add(strength.key)  # with classes, by both convolutions of a block
    if port is not None:
        draft.add(AddNoise, name, inputs=(draft.last, port))
        draft.derive(f"{name}.weight", (f"{strength.key}.weight",), (1,), lambda weight: weight)


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
        if number == 0:
            silu(draft, f"{path}_swish")
        else:
            draft.add(Activation, f"{path}_sigmoid", kind="sigmoid")
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


FAMILY = Family("fastgan", "FastGAN and Projected GAN's FastGAN", _build, output="none", pooled_side=_GATE_SIDE)
