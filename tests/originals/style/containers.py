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
            for part in (name.rpartition(".")[0], name):
                if part:
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
