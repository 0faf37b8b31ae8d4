"""Layers that families of image-to-image generators place: norms by either statistics, padding, PReLU, blur."""

from __future__ import annotations

from gan_export.graph.layers import (
    Activation,
    BatchNorm,
    BlurDown,
    BlurUp,
    Conv,
    InstanceNorm,
    Pad,
    PReLU,
)
from gan_export.graph.ports import Port, Size
from gan_export.graph.words import NormReading, PadMode
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.state_dict import DoesNotFitError, Module

_SHOWN = {
    "image": "those of each image by itself, as a script that never calls eval() takes them",
    "stored": "those that are stored, as after eval()",
}
_NO_NORM = "it has no norms, as with norm=none: its convolutions have neither biases nor a norm's keys beside them"


def start(draft: SpecBuilder, channels: int, size: Size, range: tuple[float, float], *others: Port) -> None:
    """Begin with `input`, an image of free height and width, and perhaps further inputs."""
    draft.takes(Port("input", "image", (channels, "H", "W"), range=range), *others, H=size, W=size)


def finish(draft: SpecBuilder, range: tuple[float, float], scale: int = 1) -> None:
    """End with the last value as the image, `scale` times as high and wide as the input."""
    sides = ("H", "W") if scale == 1 else (f"H*{scale}", f"W*{scale}")
    draft.gives(Port("image", "image", (draft.shape[0], *sides), range=range))


def conv(draft: SpecBuilder, name: str, module: Module, *, stride: int = 1, padding: int) -> str:
    """A convolution with zeros around."""
    inside, out = module.conv
    return draft.add(
        Conv, name, module, in_channels=inside, out_channels=out, kernel=module.kernel, stride=stride, padding=padding,
        bias=module.bias,
    )  # fmt: skip


def pad(draft: SpecBuilder, name: str, size: int, mode: PadMode = "reflect") -> str:
    return draft.add(Pad, name, size=size, mode=mode)


def relu(draft: SpecBuilder, name: str) -> str:
    return draft.add(Activation, name, kind="relu")


def norm(draft: SpecBuilder, name: str, path: str, default: NormReading) -> str:
    """The norm of the last value's channels at `path`, by its keys.

    A BatchNorm is read by --norm, `default` if nothing is given.  No keys are an InstanceNorm if the convolution before
    has a bias, as with junyanz's norm=instance, and otherwise no norm, as with norm=none.  Statistics without a weight
    are an InstanceNorm too: files before PyTorch 0.4 keep those, and no script uses them.
    """
    module = draft.maybe(path)
    channels = draft.shape[0]
    if module is None and not getattr(draft.chain.layers[-1], "bias", True):
        if _NO_NORM not in draft.notes:
            draft.notes.append(_NO_NORM)
        return draft.last
    if module is None:
        return draft.add(InstanceNorm, name, channels=channels)
    if module.channels != channels:
        raise DoesNotFitError(f"{module.key} is {module}, not a norm of {channels} channels")
    if not module.weight:
        draft.used.add(module.key)
        return draft.add(InstanceNorm, name, channels=channels)
    eps = draft.each("bn_eps", draft.family.bn_eps, "BatchNorm's eps")
    draft.chosen["norm"] = draft.choice("norm", default, "BatchNorm's statistics", _SHOWN[default])
    if draft.chosen["norm"] == "stored":
        return draft.add(BatchNorm, name, module, channels=channels, eps=eps, affine=True)
    draft.add(InstanceNorm, name, channels=channels, eps=eps, affine=True)
    if module.key in draft.used:
        raise DoesNotFitError(f"{module.key} serves twice")
    draft.used.add(module.key)  # its statistics have no use in this reading
    draft.keys.update({f"{name}.{p}": module.keys()[p] for p in ("weight", "bias")})
    return name


def prelu(draft: SpecBuilder, name: str, module: Module) -> str:
    """One slope, or one per channel."""
    shape = module.arrays.get("weight", ())
    if set(module.arrays) != {"weight"} or len(shape) != 1:
        raise DoesNotFitError(f"{module.key} is {module}, not the slopes of a PReLU")
    return draft.add(PReLU, name, module, slopes=shape[0])


def blur(draft: SpecBuilder, path: str, taps: int) -> Module | None:
    """The module at `path` if it is a filter of `taps` x `taps` for each channel."""
    module = draft.state.modules.get(path)
    shape = module.arrays.get("filt", ()) if module is not None else ()
    return draft.maybe(path) if len(shape) == 4 and shape[1:] == (1, taps, taps) else None


def blur_down(draft: SpecBuilder, name: str, module: Module) -> str:
    return draft.add(BlurDown, name, module, channels=module.arrays["filt"][0])


def blur_up(draft: SpecBuilder, name: str, module: Module) -> str:
    return draft.add(BlurUp, name, module, channels=module.arrays["filt"][0])
