"""Which extra of gan-export brings a library that the base install leaves out."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterable, Iterator

from gan_export.errors import UnavailableError

# import name -> extra, as in pyproject.toml
EXTRAS = {
    "torch": "torch",
    "torchvision": "train",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "tensorboard": "tensorboard",
    "matplotlib": "report",
    "torch_fidelity": "metrics",
    "av": "video",
    "imagecodecs": "images",
    "skimage": "volume",
    "pyarrow": "parquet",
    "fsspec": "remote",
    "ray": "ray",
}


def installed(module: str) -> bool:
    """Return whether a top-level module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def install_line(modules: Iterable[str]) -> str:
    """Return the pip command that installs these modules, by the extras that bring them."""
    found = list(dict.fromkeys(EXTRAS[name] for name in modules))
    if "train" in found and "torch" in found:
        found.remove("torch")  # which `train` brings
    return f"pip install 'gan-export[{','.join(found)}]'"


def missing(*modules: str) -> str:
    """Return "needs torch: pip install 'gan-export[torch]'" for those that are not installed; "" if all are."""
    lacking = [name for name in modules if not installed(name)]
    *most, last = lacking or [""]
    names = f"{', '.join(most)} and {last}" if most else last
    return f"needs {names}: {install_line(lacking)}" if lacking else ""


def require_training() -> None:
    """Raise UnavailableError, naming the extra, if torch is not there to train with."""
    if not installed("torch"):
        raise UnavailableError(f"training {missing('torch', 'torchvision')}")


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the import error of a library that an extra brings into UnavailableError with the line that installs it.

    what: what was being done, the beginning of the message
    """
    try:
        yield
    except ModuleNotFoundError as e:
        name = (e.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        raise UnavailableError(f"{what} needs {name}: {install_line([name])}") from None
