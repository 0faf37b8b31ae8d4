"""Read NVlabs' TensorFlow files of StyleGAN2 as data: each network's variables, by the keys of the port to PyTorch.

A snapshot is a tuple (G, D, Gs) of `dnnlib.tflib.network.Network`, whose record has the source text that builds it
(never run), its settings, and lists of variables.  NVlabs' own port has the same arithmetic: its weights are these
with axes in another order, an enlarging convolution's turned by 180 degrees, and the 1 that a style adds in its bias.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gan_export._lib.budget import Budget
from gan_export.checkpoint.beside import LARGEST
from gan_export.checkpoint.containers.tensors import Float32, OpaqueObject, Storage, Tensor, as_tensor, contiguous
from gan_export.errors import NotRecognizedError, printable
from gan_export.recognize.state_dict import Config

_CONVERT = (
    "if it is a StyleGAN2, python legacy.py --source=FILE --dest=NEW.pkl of NVlabs' stylegan2-ada-pytorch converts it, "
    "and NEW.pkl is read"
)
_MOST_DEPTH = 3  # of networks within networks
_MOST_VARIABLES = 2000
_MOST_NAME = 200
_TAPS = (1.0, 3.0, 3.0, 1.0)
# Settings that have no effect here, or that the arrays show.
_WITHOUT_EFFECT = (
    "latent_size", "label_size", "dlatent_size", "mapping_layers", "label_fmaps", "mapping_fmaps", "w_avg_beta",
    "fmap_base", "fmap_max", "num_fp16_res", "truncation_psi", "truncation_cutoff", "style_mixing_prob", "structure",
    "use_noise", "mapping_lrmul", "conv_clamp",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Changed(Tensor):
    """A tensor with its last two axes reversed, and `plus` added."""

    turned: bool = False
    plus: float = 0.0

    def floats(self) -> Float32:
        array = Tensor.floats(self)
        return np.ascontiguousarray((array[..., ::-1, ::-1] if self.turned else array) + np.float32(self.plus))


@dataclass(frozen=True, slots=True)
class Network:
    """A generator of a snapshot.  name: "Gs", the average, or "G".  config: its settings, and its source's length."""

    name: str
    tensors: Mapping[str, Tensor]
    config: Config


def generators(root: object, budget: Budget) -> list[Network]:
    """Return the generators of a snapshot, the average first; none if the file is no TensorFlow network.

    Raises NotRecognizedError, with what converts the file, for networks other than StyleGAN2's generators.
    """
    networks = root if isinstance(root, list | tuple) else (root,)
    if not 1 <= len(networks) <= 3 or not all(_is_network(n) for n in networks):
        return []
    if len(networks) != 3:
        raise _refusal("not a snapshot of a generator, a discriminator and an average")
    try:
        return [_read(n, networks[i], budget) for n, i in (("Gs", 2), ("G", 0))]
    except _OtherNetworkError as e:
        raise _refusal(str(e)) from None


class _OtherNetworkError(Exception):
    """A reason why a network is not StyleGAN2's generator."""


def _refusal(why: str) -> NotRecognizedError:
    return NotRecognizedError(f"a TensorFlow file of NVlabs' (dnnlib.tflib): {why}; {_CONVERT}")


def _is_network(value: object) -> bool:
    return (
        isinstance(value, OpaqueObject)
        and value.name.qualname == "Network"
        and value.name.module.rpartition("tflib.")[2] == "network"
    )


def _read(name: str, network: OpaqueObject, budget: Budget) -> Network:
    state = network.attributes()
    settings = state.get("static_kwargs")
    settings = settings if isinstance(settings, dict) else getattr(settings, "items", None) or {}
    variables: dict[str, Tensor] = {}
    _collect(state, "", variables, budget, 0)
    if any(part in key for key in variables for part in ("StyleMod", "ToRGB_lod")):
        raise _OtherNetworkError("it is the first StyleGAN, or a revision before StyleGAN2, which isn't read")
    if "dlatent_avg" not in variables:
        raise _OtherNetworkError(f"its {name} has no mean of w (dlatent_avg)")
    made: dict[str, Tensor] = {}
    for key, tensor in variables.items():
        if key not in ("lod", "synthesis/lod"):
            new, changed = _converted(key, tensor)
            made[new] = changed
    if settings.get("use_noise") is False:
        made = {key: t for key, t in made.items() if not key.endswith("noise_const")}
    made.update(_filters(made))
    source = state.get("build_module_src")
    config = {"source": len(source) if isinstance(source, str) else 0, **_settings(settings, made)}
    return Network(name, made, config)


def _collect(state: Mapping[object, object], prefix: str, found: dict[str, Tensor], budget: Budget, depth: int) -> None:
    """Add the variables of a network and of those within it, by TensorFlow's names."""
    variables = state.get("variables")
    for pair in variables if isinstance(variables, list) else ():
        budget.spend(20)
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise _OtherNetworkError("its variables are not pairs of a name and an array")
        key, value = f"{prefix}{pair[0]}", pair[1]
        if len(key) > _MOST_NAME or len(found) >= _MOST_VARIABLES:
            raise _OtherNetworkError("it has more variables, or longer names, than a StyleGAN2")
        tensor = _number(value) if isinstance(value, float) else as_tensor(value)
        if tensor is None:
            raise _OtherNetworkError(f"{printable(key, 80)} is no array")
        found[key] = tensor
    components = state.get("components")
    components = components if isinstance(components, dict) else getattr(components, "items", None) or {}
    for name, part in components.items():
        budget.spend(20)
        if isinstance(name, str) and isinstance(part, OpaqueObject) and _is_network(part) and depth < _MOST_DEPTH:
            _collect(part.attributes(), f"{prefix}{name}/", found, budget, depth + 1)


def _number(value: float) -> Tensor:
    return Tensor(Storage("float32", 1, memoryview(_packed(value))), "float32", (), ())


def _packed(*values: float) -> bytes:
    try:
        return struct.pack(f"<{len(values)}f", *values)
    except OverflowError:
        return struct.pack("<f", float("inf")) * len(values)


def _converted(key: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Return the key and the array of the port to PyTorch for a variable."""
    if key == "dlatent_avg":
        return "mapping.w_avg", tensor
    if match := re.fullmatch(r"mapping/(LabelEmbed|Dense(\d{1,2}))/(weight|bias)", key):
        layer = "embed" if match[1] == "LabelEmbed" else f"fc{int(match[2])}"
        return f"mapping.{layer}.{match[3]}", _reordered(key, tensor, 2, (1, 0)) if match[3] == "weight" else tensor
    if match := re.fullmatch(r"synthesis/noise(\d{1,2})", key):
        k = int(match[1])
        side, layer = (4, "conv1") if k == 0 else (8 << ((k - 1) // 2), "conv0" if k % 2 else "conv1")
        return f"synthesis.b{side}.{layer}.noise_const", _without_first(key, tensor, 4, 2)
    if key == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", _without_first(key, tensor, 4, 1)
    match = re.fullmatch(r"synthesis/(\d{1,4})x\1/(Conv|Conv0_up|Conv1|ToRGB|Skip)/(\w{1,20})", key)
    if match is None or (match[2] == "Conv") != (match[1] == "4" and match[2] not in ("ToRGB", "Skip")):
        raise _OtherNetworkError(f"{printable(key, 80)} is no part of a StyleGAN2")
    layer = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}[match[2]]
    path, name = f"synthesis.b{int(match[1])}.{layer}", match[3]
    if name == "weight":
        made = _reordered(key, tensor, 4, (3, 2, 0, 1))
        return f"{path}.weight", _changed(made, turned=True) if layer in ("conv0", "skip") else made
    if name == "mod_weight":
        return f"{path}.affine.weight", _reordered(key, tensor, 2, (1, 0))
    if name == "mod_bias":
        return f"{path}.affine.bias", _changed(tensor, plus=1.0)
    if name in ("bias", "noise_strength"):
        return f"{path}.{name}", tensor
    raise _OtherNetworkError(f"{printable(key, 80)} is no part of a StyleGAN2")


def _reordered(key: str, tensor: Tensor, rank: int, axes: tuple[int, ...]) -> Tensor:
    if len(tensor.shape) != rank:
        raise _OtherNetworkError(f"{printable(key, 80)} is {tensor.shape}")
    shape, strides = (tuple(values[a] for a in axes) for values in (tensor.shape, tensor.strides))
    return Tensor(tensor.storage, tensor.dtype, shape, strides, tensor.offset)


def _without_first(key: str, tensor: Tensor, rank: int, count: int) -> Tensor:
    """Return a view without its first `count` dimensions, which have one element each."""
    if len(tensor.shape) != rank or any(size != 1 for size in tensor.shape[:count]):
        raise _OtherNetworkError(f"{printable(key, 80)} is {tensor.shape}")
    return Tensor(tensor.storage, tensor.dtype, tensor.shape[count:], tensor.strides[count:], tensor.offset)


def _changed(tensor: Tensor, *, turned: bool = False, plus: float = 0.0) -> Tensor:
    return _Changed(tensor.storage, tensor.dtype, tensor.shape, tensor.strides, tensor.offset, turned, plus)


def _filters(made: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the filters, which the port has as buffers and TensorFlow's networks in their source."""
    owners = {match[1] for key in made if (match := re.match(r"(synthesis\.b\d+\.(?:conv[01]|skip))\.", key))}
    owners |= {owner.rpartition(".")[0] for owner in owners}
    raw = _packed(*(a * b / 64 for a in _TAPS for b in _TAPS))
    shape = (4, 4)
    return {
        f"{owner}.resample_filter": Tensor(Storage("float32", 16, memoryview(raw)), "float32", shape, contiguous(shape))
        for owner in sorted(owners)
    }


def _word(value: object) -> str:
    """Return a value of the file in words; a list may be too long to print, and a number too."""
    if isinstance(value, str):
        return printable(value[:_MOST_NAME], 40)
    return str(value) if isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGEST) else "another"


def _settings(settings: Mapping[Any, Any], made: Mapping[str, Tensor]) -> Config:
    """Return what the keys and shapes don't show.  Raises _OtherNetworkError for what this reading doesn't have."""
    images = {int(m[1]): t for key, t in made.items() if (m := re.fullmatch(r"synthesis\.b(\d+)\.torgb\.weight", key))}
    sides = {int(m[1]) for key in made if (m := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", key))}
    if not images or not sides:
        raise _OtherNetworkError("it has no layers of a StyleGAN2")
    architecture = "resnet" if any(".skip." in key for key in made) else "skip" if images.keys() == sides else "orig"
    known: dict[str, Any] = {
        "architecture": architecture, "resolution": max(sides), "num_channels": images[max(images)].shape[0],
        "mapping_nonlinearity": "lrelu", "nonlinearity": "lrelu", "resample_kernel": [1, 3, 3, 1],
    }  # fmt: skip
    for name, value in settings.items():
        shown = printable(str(name), 40)
        if name not in known and name not in _WITHOUT_EFFECT:
            raise _OtherNetworkError(f"its setting {shown} isn't known")
        if name in known and value is not None and known[name] != (list(value) if isinstance(value, tuple) else value):
            raise _OtherNetworkError(f"its settings say {shown} {_word(value)}, and it is read with {known[name]}")
    clamp, rate = settings.get("conv_clamp"), settings.get("mapping_lrmul", 0.01)
    for shown, number in (("conv_clamp", 0.0 if clamp is None else clamp), ("mapping_lrmul", rate)):
        if isinstance(number, bool) or not isinstance(number, int | float) or abs(number) >= LARGEST:
            raise _OtherNetworkError(f"its setting {shown} is no number")
    return {"conv_clamp": clamp, "mapping_lrmul": rate}
