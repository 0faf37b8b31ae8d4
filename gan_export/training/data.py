"""Training images from several sources, converted to one shape.

A source is any object with the `DataSource` protocol; `open_source` is the registry.  A new source is a function here
that returns one.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import socket
import zipfile
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from gan_export.errors import GanExportError, Topic, first_line, linked, printable
from gan_export.training import emoji, recipe
from gan_export.training.decoding import Bytes, Decoder, Shape
from gan_export.training.solids import Solids

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_PATIENCE = 20.0  # seconds without data after which a mirror is abandoned
_NAMED = 5  # number of corrupt files that a message names


Indices = npt.NDArray[np.int64]


class DataSource(Protocol):
    """A fixed sequence of images of one shape."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of every image, (C, D, H, W) of every volume."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """`file: reason` of each image that could not be read."""
        ...

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """The class of each image, from 0; None if there are no labels."""
        ...

    def __len__(self) -> int: ...

    def expect(self, indices: Indices) -> None:
        """Prepare for `read` to be called with `indices` next; a source may do nothing."""
        ...

    def read(self, indices: Indices) -> Bytes:
        """Return the images at `indices`: uint8 (n, *shape), 0..255 for -1..1; for 0..1 of volumes."""
        ...


@dataclass(frozen=True)
class InMemory:
    """All images or volumes in one array, uint8 (N, C, ...)."""

    name: str
    images: Bytes
    skipped: tuple[str, ...] = ()
    labels: npt.NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    def __len__(self) -> int:
        return len(self.images)

    def expect(self, indices: Indices) -> None:
        pass

    def read(self, indices: Indices) -> Bytes:
        return self.images[indices]


@dataclass(frozen=True)
class OnDisk:
    """Files that are decoded on demand or one batch ahead; each was readable when the source was opened."""

    name: str
    files: tuple[Path, ...]
    shape: Shape
    decoder: Decoder
    skipped: tuple[str, ...] = ()
    labels: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def expect(self, indices: Indices) -> None:
        self.decoder.expect(self._at(indices), self.shape)

    def read(self, indices: Indices) -> Bytes:
        files = self._at(indices)
        pictures = []
        for file, got in zip(files, self.decoder.batch(files, self.shape), strict=True):
            if isinstance(got, str):
                raise GanExportError(f"{printable(str(file))} can't be read any more: {got}; put it back")
            pictures.append(got)
        return np.stack(pictures)

    def _at(self, indices: Indices) -> tuple[Path, ...]:
        return tuple(self.files[i] for i in indices)


@linked(Topic.TRAINING_IMAGES)
def open_source(data: recipe.Data, root: Path | None) -> DataSource:
    """Return the images of a recipe's [data]; `root` is --data-root.

    Raises GanExportError for a root without the data, a folder without a readable image, and with data.strict for any
    image that can't be read.
    """
    if data.dims == 3:
        return volumes(data)
    shape = (data.channels, data.size, data.size)
    match data.source:
        case "mnist-10k":
            return packed_digits(shape)
        case "folder":
            return folder(data, shape)
        case "npz":
            return arrays(Path(data.path), shape)
        case "emoji":
            return emoji_font(data.path, shape)
        case _:
            return torchvision_set(data.source, root, shape)


def volumes(data: recipe.Data) -> DataSource:
    """Return the volumes of a recipe's [data].

    An .npz or .npy has uint8 or bool (N, D, H, W), with all sides data.size; bool is 0 and 255.
    """
    if data.source == "solids":
        return Solids(data.size, data.memory)
    found = _load(Path(data.path))
    nothing: npt.NDArray[Any] = np.empty(0, np.uint8)
    several = [a for a in found.values() if a.ndim in (4, 5)]
    taken = found.get("volumes", several[0] if len(several) == 1 else nothing)
    if taken.ndim == 5 and 1 in (taken.shape[1], taken.shape[4]):
        taken = taken[:, 0] if taken.shape[1] == 1 else taken[..., 0]
    side = (data.size,) * 3
    if taken.shape[1:] != side or taken.dtype not in (np.uint8, np.bool_) or not taken.size:
        held = ", ".join(f"{k} {v.dtype} {v.shape}" for k, v in found.items()) or "nothing"
        wanted = f"`volumes` must be uint8 or bool (N, {', '.join(map(str, side))}); data.size sets the side"
        raise GanExportError(f"{printable(data.path)} holds {printable(held)}; {wanted}")
    values = taken * np.uint8(255) if taken.dtype == np.bool_ else taken
    labels = found.get("labels")
    if labels is not None and (labels.shape != taken.shape[:1] or labels.dtype.kind not in "iu"):
        raise GanExportError(f"{printable(data.path)}: labels {labels.dtype} {labels.shape}; {len(taken)} are needed")
    return InMemory("npz", values[:, None], labels=None if labels is None else labels.astype(np.int64))


def packed_digits(shape: Shape) -> DataSource:
    """Return the 10,000 digits in the package; data/README.md states their source and license."""
    packed = resources.files("gan_export").joinpath("data", "mnist-10k.npz").read_bytes()
    with np.load(io.BytesIO(packed)) as f:
        return InMemory("mnist-10k", resized(f["images"], shape), labels=f["labels"].astype(np.int64))


def torchvision_set(name: str, root: Path | None, shape: Shape, *, train: bool = True) -> DataSource:
    """Return the training (or test) set of MNIST, FashionMNIST or CIFAR10 from `root`; download it if it is missing."""
    from torchvision import datasets

    kind = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10}[name]
    where = Path("data") if root is None else root
    try:
        pictures = kind(str(where), train=train)
    except RuntimeError:  # torchvision's exception for a root without the data
        pictures = _downloaded(kind, name, where)
    except Exception as e:  # the files are truncated or contain something else: each reader raises another type
        raise GanExportError(
            f"{printable(str(where))}: its {name} is damaged ({first_line(e, 80)}); "
            "remove it there, and it is fetched again, or name another folder with data_root="
        ) from None
    labels = np.asarray(pictures.targets, np.int64)
    return InMemory(name, resized(np.asarray(pictures.data), shape), labels=labels)


def _downloaded(kind: Any, name: str, where: Path) -> Any:
    before = {f for f in where.rglob("*") if f.is_dir()} | ({where} if where.is_dir() else set())
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return kind(str(where), train=True, download=True)
    except Exception as e:  # mirrors fail with many types
        for made in sorted({where, *where.rglob("*")} - before, reverse=True):
            with contextlib.suppress(OSError):
                made.rmdir()  # only the empty folders of the attempt
        reason = printable(str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__, 80)
        raise GanExportError(
            f"{printable(str(where))} has no {name}, and it can't be downloaded ({reason}); "
            "name the folder that holds it with data_root=, or use set data.source=mnist-10k"
        ) from None
    finally:
        socket.setdefaulttimeout(patience)


def folder(data: recipe.Data, shape: Shape) -> DataSource:
    """Return all images below data.path, of any size and mode, sorted by name.

    They are decoded once, and kept in memory if they take at most data.memory.  If every image is in a subfolder, the
    subfolders, sorted by name, are the classes.  Files that can't be read are skipped and listed in `skipped`, or
    refused with data.strict.
    """
    path = Path(data.path)
    if not path.is_dir():
        raise GanExportError(f"data.path {printable(str(path))} is not a folder; name one that contains images")
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        raise GanExportError(f"{printable(str(path))} contains no images ({', '.join(SUFFIXES)})")
    fits = len(files) * int(np.prod(shape)) <= data.memory * 2**30
    kept: list[Path] = []
    images: list[Bytes] = []
    skipped: list[str] = []
    decoder = Decoder()
    for file, got in zip(files, decoder.each(files, shape), strict=True):
        if isinstance(got, str):
            skipped.append(f"{printable(str(file.relative_to(path)))}: {got}")
            continue
        kept.append(file)
        if fits:
            images.append(got)
    if skipped and (data.strict or not kept):
        named = "; ".join(skipped[:_NAMED]) + ("; ..." if len(skipped) > _NAMED else "")
        raise GanExportError(f"{len(skipped)} of {len(files)} images in {printable(str(path))} can't be read: {named}")
    if fits:
        return InMemory("folder", np.stack(images), tuple(skipped), _classes(path, kept))
    return OnDisk("folder", tuple(kept), shape, decoder, tuple(skipped), _classes(path, kept))


def emoji_font(path: str, shape: Shape) -> DataSource:
    """Return the emoji of a font, then the mirror image of each; their groups are the classes."""
    got = emoji.render(path, shape)
    skipped = tuple(f"U+{ord(character):04X}: not in the font" for character in got.missing)
    images = np.concatenate((got.images, got.mirrored()))
    return InMemory("emoji", images, skipped, np.tile(got.classes, 2))


def arrays(path: Path, shape: Shape) -> DataSource:
    """Return the images of an .npz, as written by `gan-sample -o x.npz` and others, or of a .npy.

    In an .npz they are `images`, or the only array of three or four dimensions: uint8 (N, H, W), (N, H, W, C) or
    (N, C, H, W), C 1 or 3.  Its `labels`, if there are any, are N whole numbers from 0.  Nothing is unpickled.
    The center square of each image is resized.  Raises GanExportError for anything else.
    """
    found = _load(path)
    nothing: npt.NDArray[Any] = np.empty(0, np.uint8)
    several = [a for a in found.values() if a.ndim in (3, 4)]
    pictures = found.get("images", several[0] if len(several) == 1 else nothing)
    color = [1, 3]
    if pictures.ndim == 4 and pictures.shape[3] not in color and pictures.shape[1] in color:
        pictures = pictures.transpose(0, 2, 3, 1)
    right = pictures.ndim == 3 or (pictures.ndim == 4 and pictures.shape[3] in color)
    if not right or pictures.dtype != np.uint8 or not pictures.size:
        held = ", ".join(f"{k} {v.dtype} {v.shape}" for k, v in found.items()) or "nothing"
        wanted = "`images` must be uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3)"
        raise GanExportError(f"{printable(str(path))} holds {printable(held)}; {wanted}")
    labels = found.get("labels")
    if labels is not None:
        whole = labels.shape == pictures.shape[:1] and labels.dtype.kind in "iu" and labels.min(initial=0) >= 0
        if not whole:
            held = f"labels {labels.dtype} {labels.shape}"
            raise GanExportError(f"{printable(str(path))}: {held}; must be {len(pictures)} whole numbers from 0")
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
            entries = {name: loaded[name] for name in loaded.files}
            return {name: found for name, found in entries.items() if isinstance(found, np.ndarray)}  # or raw bytes
    except FileNotFoundError:
        raise GanExportError(f"{printable(str(path))} is not there; name a .npz or .npy with data.path") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError) as e:
        pickled = "allow_pickle" in str(e)  # NumPy's error for an unknown format, which suggests allow_pickle
        reason = "it holds Python objects, or is no .npz or .npy file" if pickled else first_line(e, 100)
        raise GanExportError(f"{printable(str(path))} can't be read as arrays: {reason}") from None


def _classes(path: Path, files: list[Path]) -> npt.NDArray[np.int64] | None:
    parts = [f.relative_to(path).parts for f in files]
    if any(len(p) < 2 for p in parts):
        return None
    names = sorted({p[0] for p in parts})
    return np.array([names.index(p[0]) for p in parts], np.int64)


def resized(images: npt.NDArray[np.uint8], shape: Shape) -> Bytes:
    """Resize square images (N, H, W) or (N, H, W, 3) to (N, C, S, S), with the same bytes as PIL's bilinear resize."""
    import torch

    c, h, w = shape
    planes = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    if c == 1 and planes.shape[1] == 3:
        planes = np.stack([np.asarray(Image.fromarray(i).convert("L")) for i in images])[:, None]
    pixels = torch.from_numpy(np.array(planes))  # a copy, because the packed array is read-only
    if pixels.shape[2:] != (h, w):
        pixels = torch.nn.functional.interpolate(pixels, size=(h, w), mode="bilinear", antialias=True)
    result: Bytes = pixels.numpy()
    return result if result.shape[1] == c else np.repeat(result, c, axis=1)
