"""Pictures to train on: where they come from, brought to one shape, in an order that a seed decides.

A source is anything with the `DataSource` protocol; `open_source` is the registry.  Another source is a
function here that returns one.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from gan_export.errors import GanExportError, first_line, printable
from gan_export.training import recipe

Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]  # (C, H, W) of one picture

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MEMORY_LIMIT = 4 << 30  # bytes of decoded pictures kept; a larger folder is decoded batch by batch
_PATIENCE = 20.0  # seconds without a byte, after which a mirror is given up
_NAMED = 5  # corrupt files named one by one in a message


class DataSource(Protocol):
    """A fixed sequence of pictures of one shape."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> Shape:
        """(C, H, W) of every picture."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """`file: reason` of each picture that could not be read."""
        ...

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """The class of each picture, from 0; None where nothing says it."""
        ...

    def __len__(self) -> int: ...

    def read(self, indices: npt.NDArray[np.int64]) -> Bytes:
        """The pictures at `indices`: uint8 (n, C, H, W), 0..255 for -1..1."""
        ...


@dataclass(frozen=True)
class InMemory:
    """All pictures in one array, uint8 (N, C, H, W)."""

    name: str
    images: Bytes
    skipped: tuple[str, ...] = ()
    labels: npt.NDArray[np.int64] | None = None

    @property
    def shape(self) -> Shape:
        _, c, h, w = self.images.shape
        return c, h, w

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: npt.NDArray[np.int64]) -> Bytes:
        return self.images[indices]


@dataclass(frozen=True)
class OnDisk:
    """Files decoded when they are asked for; each was readable when the source was opened."""

    name: str
    files: tuple[Path, ...]
    shape: Shape
    skipped: tuple[str, ...] = ()
    labels: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: npt.NDArray[np.int64]) -> Bytes:
        with _decoders() as pool:
            return np.stack(list(pool.map(lambda i: decode(self.files[i], self.shape), indices)))


def open_source(data: recipe.Data, root: Path | None) -> DataSource:
    """The pictures that a recipe's [data] asks for; `root` is --data-root.

    Raises GanExportError for a root without the data, a folder without a readable picture, and with
    data.strict for any picture that can't be read.
    """
    shape = (data.channels, data.size, data.size)
    match data.source:
        case "mnist-10k":
            return packed_digits(shape)
        case "folder":
            return folder(Path(data.path), shape, strict=data.strict)
        case "npz":
            return arrays(Path(data.path), shape)
        case _:
            return torchvision_set(data.source, root, shape)


def packed_digits(shape: Shape) -> DataSource:
    """The 10,000 digits inside the package; data/README.md states their source and licence."""
    packed = resources.files("gan_export").joinpath("data", "mnist-10k.npz").read_bytes()
    with np.load(io.BytesIO(packed)) as f:
        return InMemory("mnist-10k", resized(f["images"], shape), labels=f["labels"].astype(np.int64))


def torchvision_set(name: str, root: Path | None, shape: Shape, *, train: bool = True) -> DataSource:
    """MNIST, FashionMNIST or CIFAR10's training (or test) set from `root`, downloaded there where it is missing."""
    from torchvision import datasets

    kind = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10}[name]
    where = Path("data") if root is None else root
    try:
        pictures = kind(str(where), train=train)
    except RuntimeError:  # torchvision's word for a root without the data
        pictures = _downloaded(kind, name, where)
    labels = np.asarray(pictures.targets, np.int64)
    return InMemory(name, resized(np.asarray(pictures.data), shape), labels=labels)


def _downloaded(kind: Any, name: str, where: Path) -> Any:
    before = {f for f in where.rglob("*") if f.is_dir()} | ({where} if where.is_dir() else set())
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return kind(str(where), train=True, download=True)
    except Exception as e:  # every mirror's failure has another type
        for made in sorted({where, *where.rglob("*")} - before, reverse=True):
            with contextlib.suppress(OSError):
                made.rmdir()  # only the empty folders that the attempt left
        reason = printable(str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__, 80)
        raise GanExportError(
            f"{printable(str(where))} has no {name}, and it can't be downloaded ({reason}); "
            "name the folder that holds it with --data-root, or use --set data.source=mnist-10k"
        ) from None
    finally:
        socket.setdefaulttimeout(patience)


def folder(path: Path, shape: Shape, *, strict: bool = False) -> DataSource:
    """Every picture beneath `path`, of any size and mode, in the order of their names.

    Decoded once, into memory up to MEMORY_LIMIT.  Where each lies in a folder of its own beneath `path`, those
    folders are the classes, in the order of their names.  What can't be read is skipped and named in `skipped`,
    or refused when `strict`.
    """
    if not path.is_dir():
        raise GanExportError(f"data.path {printable(str(path))} is no folder; name one that holds pictures")
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        raise GanExportError(f"{printable(str(path))} holds no pictures ({', '.join(SUFFIXES)})")
    fits = len(files) * int(np.prod(shape)) <= MEMORY_LIMIT
    kept: list[Path] = []
    images: list[Bytes] = []
    skipped: list[str] = []
    with _decoders() as pool:
        for file, got in zip(files, pool.map(lambda f: _try_decode(f, shape), files), strict=True):
            if isinstance(got, str):
                skipped.append(f"{printable(str(file.relative_to(path)))}: {got}")
                continue
            kept.append(file)
            if fits:
                images.append(got)
    if skipped and (strict or not kept):
        named = "; ".join(skipped[:_NAMED]) + ("; ..." if len(skipped) > _NAMED else "")
        raise GanExportError(
            f"{len(skipped)} of {len(files)} pictures in {printable(str(path))} can't be read: {named}"
        )
    if fits:
        return InMemory("folder", np.stack(images), tuple(skipped), _classes(path, kept))
    return OnDisk("folder", tuple(kept), shape, tuple(skipped), _classes(path, kept))


def arrays(path: Path, shape: Shape) -> DataSource:
    """The pictures of an .npz, as `gan-sample -o x.npz` and others write it, or of a .npy.

    In an .npz they are `images`, or its only array of three or four dimensions: uint8 (N, H, W), (N, H, W, C) or
    (N, C, H, W), C 1 or 3.  Its `labels`, where it has any, are N whole numbers from 0.  Nothing is unpickled.
    The middle square of each picture is resized.  Raises GanExportError for anything else.
    """
    found = _load(path)
    nothing: npt.NDArray[Any] = np.empty(0, np.uint8)
    several = [a for a in found.values() if a.ndim in (3, 4)]
    pictures = found.get("images", several[0] if len(several) == 1 else nothing)
    colour = [1, 3]
    if pictures.ndim == 4 and pictures.shape[3] not in colour and pictures.shape[1] in colour:
        pictures = pictures.transpose(0, 2, 3, 1)
    right = pictures.ndim == 3 or (pictures.ndim == 4 and pictures.shape[3] in colour)
    if not right or pictures.dtype != np.uint8 or not pictures.size:
        held = ", ".join(f"{k} {v.dtype} {v.shape}" for k, v in found.items()) or "nothing"
        wanted = "`images` must be uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3)"
        raise GanExportError(f"{printable(str(path))} holds {printable(held)}; {wanted}")
    labels = found.get("labels")
    if labels is not None:
        whole = labels.shape == pictures.shape[:1] and labels.dtype.kind in "iu" and labels.min(initial=0) >= 0
        if not whole:
            held = f"labels {labels.dtype} {labels.shape}"
            raise GanExportError(f"{printable(str(path))}: {held}; {len(pictures)} whole numbers from 0 are needed")
    side = min(pictures.shape[1:3])
    top, left = (pictures.shape[1] - side) // 2, (pictures.shape[2] - side) // 2
    squares: Bytes = pictures[:, top : top + side, left : left + side]
    return InMemory("npz", resized(squares, shape), labels=None if labels is None else labels.astype(np.int64))


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with open(path, "rb") as f:
            loaded = np.load(f, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"images": loaded}
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise GanExportError(f"{printable(str(path))} is not there; name a .npz or .npy with data.path") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as e:
        pickled = "allow_pickle" in str(e)  # what NumPy says of anything that it doesn't know, with advice to run it
        reason = "it holds Python objects, or is no .npz or .npy file" if pickled else first_line(e, 100)
        raise GanExportError(f"{printable(str(path))} can't be read as arrays: {reason}") from None


def _classes(path: Path, files: list[Path]) -> npt.NDArray[np.int64] | None:
    parts = [f.relative_to(path).parts for f in files]
    if any(len(p) < 2 for p in parts):
        return None
    names = sorted({p[0] for p in parts})
    return np.array([names.index(p[0]) for p in parts], np.int64)


def decode(file: Path, shape: Shape) -> Bytes:
    """One picture: its shorter side resized to fit, centre-cropped, uint8 (C, H, W).

    16-bit and palette pictures are brought to 8 bits a channel; transparency is put on black.
    """
    with Image.open(file) as opened:
        return fit(plain(opened, shape[0]), shape)


def fit(image: Image.Image, shape: Shape) -> Bytes:
    """An L or RGB picture resized by its shorter side and centre-cropped: uint8 (C, H, W)."""
    c, h, w = shape
    scale = max(h / image.height, w / image.width)
    size = (max(w, round(image.width * scale)), max(h, round(image.height * scale)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - w) // 2, (size[1] - h) // 2
    pixels = np.asarray(image.crop((left, top, left + w, top + h)), np.uint8)
    return np.ascontiguousarray(pixels.reshape(h, w, c).transpose(2, 0, 1))


def resized(images: npt.NDArray[np.uint8], shape: Shape) -> Bytes:
    """(N, H, W) or (N, H, W, 3) square pictures to (N, C, S, S), to the bytes that PIL's bilinear resize gives."""
    import torch

    c, h, w = shape
    planes = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    if c == 1 and planes.shape[1] == 3:
        planes = np.stack([np.asarray(Image.fromarray(i).convert("L")) for i in images])[:, None]
    pixels = torch.from_numpy(np.array(planes))  # a copy of its own: what is packed is read-only
    if pixels.shape[2:] != (h, w):
        pixels = torch.nn.functional.interpolate(pixels, size=(h, w), mode="bilinear", antialias=True)
    result: Bytes = pixels.numpy()
    return result if result.shape[1] == c else np.repeat(result, c, axis=1)


def plain(image: Image.Image, channels: int) -> Image.Image:
    """Any PIL mode as L (1 channel) or RGB (3)."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits a pixel: scaled by its own range
        values = np.asarray(image, np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.clip(values * (255.0 / top) + 0.5, 0, 255).astype(np.uint8))
    if image.mode in ("P", "LA", "PA", "RGBA", "La", "RGBa"):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return image.convert("L" if channels == 1 else "RGB")


def _try_decode(file: Path, shape: Shape) -> Bytes | str:
    try:
        return decode(file, shape)
    except Exception as e:  # PIL raises types of every kind on hostile files; the reason is what counts
        return printable(str(e).splitlines()[0] if str(e) else type(e).__name__, 100)


@contextlib.contextmanager
def _decoders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield pool
