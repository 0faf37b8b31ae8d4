"""Files to pictures of one shape: by threads of the process that trains, or by processes of their own.

The bytes are the same either way.  Nothing here imports torch, so that a process which decodes is soon there.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing.util import Finalize
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gan_export.errors import GanExportError, printable

Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]  # (C, H, W) of one picture

_PIECE = 16  # files decoded in one go when a folder is opened
_DEATHS = 3  # of the processes, until a run gives up


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


def tried(files: Sequence[Path], shape: Shape) -> list[Bytes | str]:
    """Each file's picture, or why it can't be read."""
    return [_tried(file, shape) for file in files]


def _tried(file: Path, shape: Shape) -> Bytes | str:
    try:
        return decode(file, shape)
    except Exception as e:  # PIL raises types of every kind on hostile files; the reason is what counts
        return printable(str(e).splitlines()[0] if str(e) else type(e).__name__, 100)


class Decoders:
    """Decodes lists of files, in their order, by `workers` processes; 0: by threads of this process.

    The processes end with this object and with this process, whatever ends it, and leave Ctrl-C to it.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = self._started()
        self._expected: dict[tuple[Path, ...], Future[list[Bytes | str]]] = {}
        self._deaths = 0

    def each(self, files: Sequence[Path], shape: Shape) -> Iterator[Bytes | str]:
        """Every file's picture, or why it can't be read."""
        pieces = [files[i : i + _PIECE] for i in range(0, len(files), _PIECE)]
        try:
            for piece in self._pool.map(partial(tried, shape=shape), pieces):
                yield from piece
        except BrokenProcessPool:
            raise _dead() from None

    def expect(self, batches: Iterable[tuple[Path, ...]], shape: Shape) -> None:
        """`batch` will be asked for these, in this order: the processes begin with as many as keep all of them busy."""
        try:
            for files in islice(batches, self._workers + 1 if self._workers else 0):
                if files not in self._expected:
                    self._expected[files] = self._pool.submit(tried, files, shape)
        except BrokenProcessPool:
            self._replace()

    def batch(self, files: tuple[Path, ...], shape: Shape) -> list[Bytes | str]:
        """As `each`, of one batch; what was expected is there already, or soon."""
        if expected := self._expected.pop(files, None):
            try:
                return expected.result()
            except BrokenProcessPool:
                self._replace()
        return list(self.each(files, shape))

    def _started(self) -> Executor:
        if not self._workers:
            return ThreadPoolExecutor(min(8, os.cpu_count() or 1))
        # forking a process in which torch runs threads is not safe
        pool = ProcessPoolExecutor(self._workers, multiprocessing.get_context("spawn"), initializer=_follow)
        # at a process's end, which waits for those that it started: before multiprocessing's queues close, at 10
        Finalize(self, pool.shutdown, kwargs={"cancel_futures": True}, exitpriority=20)
        return pool

    def _replace(self) -> None:
        """New processes where one was killed; what they had begun is decoded anew."""
        self._deaths += 1
        if self._deaths > _DEATHS:
            raise _dead()
        self._expected.clear()
        self._pool = self._started()


def _dead() -> GanExportError:
    return GanExportError(
        "a process that decodes pictures was killed again and again, by a lack of memory perhaps; lower data.workers"
    )


def _follow() -> None:
    """A process that decodes: leaves Ctrl-C to its parent, and ends with it even where that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
