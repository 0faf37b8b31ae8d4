"""Read a user's own latents and directions from files: .npy, .npz, or a tensor saved by torch."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError, printable
from gan_export.graph.ports import Port

Floats = npt.NDArray[np.float32]
MOST_BYTES = 1 << 32  # of the array in a .npz, which may be compressed


def read_array(path: Path) -> npt.NDArray[Any]:
    """Return the array in a file: of a .npz its only one, or `w`, as NVlabs' projector writes it.

    Raises GanExportError for a file without an array of numbers.
    """
    shown = printable(str(path))
    if not path.is_file():
        raise GanExportError(f"{shown}: no such file")
    with open(path, "rb") as f:
        start = f.read(6)
    try:
        if start == b"\x93NUMPY":
            values = np.load(path, allow_pickle=False)
        elif start[:2] == b"PK" and (name := _member(path)) is not None:
            values = np.load(path, allow_pickle=False)[name]
        else:
            values = _read_tensor(path)
    except (ValueError, OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, NotImplementedError) as e:
        raise GanExportError(f"{shown} contains no array: {printable(str(e))}") from None
    if not isinstance(values, np.ndarray):  # NumPy gives the bytes of a member that is not an array
        raise GanExportError(f"{shown} contains no array")
    if values.dtype.kind not in "fiu" or not values.size:
        raise GanExportError(f"{shown} contains {values.dtype} {values.shape}; must be numbers")
    return np.asarray(values)


def read_latents(path: Path, port: Port) -> Floats:
    """Return the latents in a file as the port takes them, (N, ...) float32.

    z and w are (N, F), or z (N, F, 1, 1); ws are (N, R, F), of one image (R, F), or (N, F), one w for all layers.
    """
    values = read_array(path)
    given, shape = values.shape, tuple(d for d in port.shape if isinstance(d, int))
    if values.ndim == 4 and values.shape[2:] == (1, 1):
        values = values[:, :, 0, 0]
    if len(shape) == 2:
        if values.shape == shape:
            values = values[None]
        elif values.ndim == 2 and values.shape[1] == shape[1]:
            values = np.repeat(values[:, None], shape[0], axis=1)
    if values.ndim == 1 and len(shape) == 1:
        values = values[None]
    if values.shape[1:] != shape:
        sizes = ", ".join(map(str, shape))
        also = f" or (N, {sizes}, 1, 1)" if len(shape) == 1 else ""
        raise GanExportError(
            f"{printable(str(path))} contains {values.dtype} {given}; must be float (N, {sizes}){also} for {port.name}"
        )
    if not np.isfinite(values).all():
        raise GanExportError(f"{printable(str(path))} contains numbers that are not finite; save it again")
    return np.ascontiguousarray(values, np.float32)


def holds_ws(path: Path) -> bool:
    """Return whether a file's array can only be ws: (N, R, F), with R more than 1."""
    shape = read_array(path).shape
    return len(shape) == 3 and shape[1] > 1


def read_direction(path: Path) -> Floats:
    """Return a direction in w, (F,) for all layers or (R, F), out of (F,), (1, F), (R, F) or (1, R, F)."""
    values = read_array(path)
    given = values.shape
    while values.ndim > 1 and values.shape[0] == 1:
        values = values[0]
    if values.ndim not in (1, 2):
        raise GanExportError(f"{printable(str(path))} contains {values.dtype} {given}; must be float (F,) or (R, F)")
    return np.ascontiguousarray(values, np.float32)


def _member(path: Path) -> str | None:
    """Return the name of the array to take from a .npz; None for a zip archive that is none, such as torch's."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [m.filename.removesuffix(".npy") for m in members if m.filename.endswith(".npy")]
        if not names or len(names) != len(members):
            return None
        if len(names) > 1 and "w" not in names:
            raise ValueError(f"several arrays, {', '.join(sorted(names)[:6])}, and none called w")
        name = "w" if "w" in names else names[0]
        if archive.getinfo(f"{name}.npy").file_size > MOST_BYTES:
            raise ValueError("more than 4 GiB")
        return name


def _read_tensor(path: Path) -> npt.NDArray[np.float32]:
    """Return a saved tensor, read as data: torch.load is only as safe as its list of trusted names."""
    from gan_export.checkpoint.containers.detect import read_content
    from gan_export.checkpoint.containers.tensors import as_tensor

    _, _, content, _ = read_content(path)
    tensor = as_tensor(content.root)
    if tensor is None:
        raise GanExportError(
            f"{printable(str(path))} contains no tensor; name a .npy file, or a tensor saved by torch.save"
        )
    return tensor.floats()
