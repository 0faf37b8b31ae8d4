"""The files that style-based generators come in, written without their code."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

SOURCE = "raise SystemExit('the source in a pickle was run')\n" * 50


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("nothing that a file names is called")


class EasyDict(dict[str, Any]):
    """dnnlib's dict whose items are attributes."""


class _Pickler(pickle.Pickler):
    """Pickles each module as NVlabs' `persistence` does: the name of its class, its source, its attributes."""

    def __init__(self, file: io.BytesIO, names: Mapping[int, str], source: str) -> None:
        super().__init__(file, pickle.DEFAULT_PROTOCOL)
        self.names, self.source = names, source

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, nn.Module) or not type(obj).__module__.startswith("tests."):
            return NotImplemented
        meta = {
            "type": "class", "version": 6, "module_src": self.source,
            "class_name": self.names.get(id(obj), type(obj).__name__), "state": obj.__dict__,
        }  # fmt: skip
        return _reconstruct_persistent_obj, (meta,)


@contextmanager
def _named(**homes: Any) -> Iterator[None]:
    """Let pickle find objects under the modules that the originals have them in."""
    before = dict(sys.modules)
    kept = {o: (o.__module__, o.__qualname__) for objects in homes.values() for o in objects}
    try:
        for home, objects in homes.items():
            name = home.replace("__", ".")
            parts = name.split(".")
            for part in (".".join(parts[: i + 1]) for i in range(len(parts))):
                sys.modules[part] = types.ModuleType(part)
            for o in objects:
                setattr(sys.modules[name], o.__name__, o)
                o.__module__ = name
        yield
    finally:
        for o, (module, qualname) in kept.items():
            o.__module__, o.__qualname__ = module, qualname
        for name in set(sys.modules) - set(before):
            del sys.modules[name]
        sys.modules.update(before)


def nvlabs_pickle(
    path: Path, *, source: str = SOURCE, names: Mapping[int, str] | None = None, **networks: nn.Module
) -> Path:
    """Write NVlabs' `.pkl`: networks by the names that their training loop gives, G and D before G_ema.

    names: other class names, by id of the module: a file that lies.
    """
    buffer = io.BytesIO()
    with _named(torch_utils__persistence=[_reconstruct_persistent_obj], dnnlib__util=[EasyDict]):
        content = {
            "training_set_kwargs": EasyDict(class_name="training.dataset.Dataset"),
            **networks,
            "augment_pipe": None,
        }
        _Pickler(buffer, names or {}, source).dump(content)
    path.write_bytes(buffer.getvalue())
    return path


def r3gan_pickle(path: Path, **networks: nn.Module) -> Path:
    """Write R3GAN's `.pkl`: as NVlabs', with modules pickled as PyTorch does."""
    from tests.originals.style import r3gan

    buffer = io.BytesIO()
    inner = [
        v
        for v in vars(r3gan).values()
        if isinstance(v, type) and issubclass(v, nn.Module) and v.__module__ == r3gan.__name__
    ]
    with _named(training__networks=[r3gan.Generator], R3GAN__Networks=[k for k in inner if k is not r3gan.Generator]):
        pickle.Pickler(buffer, pickle.DEFAULT_PROTOCOL).dump({**networks, "augment_pipe": None})
    path.write_bytes(buffer.getvalue())
    return path


class Network:
    """A network of dnnlib.tflib: its name, and what it has."""

    def __init__(self, name: str, variables: Mapping[str, Any], settings: Mapping[str, Any], **parts: Network) -> None:
        self.__dict__ |= {
            "version": 4, "name": name, "static_kwargs": dict(settings), "components": parts,
            "build_module_src": SOURCE, "build_func_name": f"{name}_main", "variables": list(variables.items()),
        }  # fmt: skip


def tensorflow_pickle(path: Path, settings: Mapping[str, Any], change: Any = None, **networks: nn.Module) -> Path:
    """Write a training snapshot of NVlabs' TensorFlow code: G, D and Gs as a tuple.

    networks: StyleGAN2s as in PyTorch.  change: of the variables {name: array} of each generator, before they are saved
    """
    made = {}
    for name, network in networks.items():
        variables = _tensorflow_variables(network)
        if change is not None:
            change(variables)
        inner = {
            part: Network(part, {k.partition("/")[2]: v for k, v in variables.items() if k.startswith(f"{part}/")}, {})
            for part in ("synthesis", "mapping")
        }
        own = {k: v for k, v in variables.items() if "/" not in k}
        made[name] = Network(name, own, settings, **inner)
    buffer = io.BytesIO()
    with _named(dnnlib__tflib__network=[Network]):
        pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump((made["G"], Network("D", {}, {}), made["Gs"]))
    path.write_bytes(buffer.getvalue())
    return path


def _tensorflow_variables(model: nn.Module) -> dict[str, Any]:
    """Return the variables by the names and in the axes of TensorFlow."""
    found: dict[str, Any] = {"lod": np.float32(0)}
    for key, tensor in model.state_dict().items():
        array, (part, *path, name) = tensor.numpy(), key.split(".")
        if name == "resample_filter":
            continue
        if key == "mapping.w_avg":
            found["dlatent_avg"] = array
        elif part == "mapping":
            layer = "LabelEmbed" if path == ["embed"] else f"Dense{path[0][2:]}"
            found[f"mapping/{layer}/{name}"] = array.T if name == "weight" else array
        elif name == "const":
            found["synthesis/4x4/Const/const"] = array[None]
        else:
            side, layer = int(path[0][1:]), path[1]
            if name == "noise_const":
                number = 2 * side.bit_length() - (7 if layer == "conv0" else 6)
                found[f"synthesis/noise{max(number, 0)}"] = array[None, None]
                continue
            home = {"conv0": "Conv0_up", "conv1": "Conv1" if side > 4 else "Conv", "torgb": "ToRGB", "skip": "Skip"}
            where = f"synthesis/{side}x{side}/{home[layer]}"
            if path[-1] == "affine":
                found[f"{where}/mod_{name}"] = array.T if name == "weight" else array - 1
            elif name == "weight":
                axes = array.transpose(2, 3, 1, 0)
                found[f"{where}/weight"] = axes[::-1, ::-1] if layer in ("conv0", "skip") else axes
            else:
                found[f"{where}/{name}"] = array if array.ndim else np.float32(array)
    return found
