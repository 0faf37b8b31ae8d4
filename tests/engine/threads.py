"""What a tool that watches memory or threads sees of the engine in Python: open, draw, share a handle, close.

    python -m tests.engine.threads [ROUNDS]

Python threads draw from one model at once, each with a context of its own, which has a team of two: what gan.h
allows, and `Model`, whose calls take turns, never does.  Others share a `Model`.  Ends with an error where a
picture isn't the known one.  Imports no torch.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from ctypes import byref, c_void_p
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_export.runtimes.native import Model, _output, _range
from gan_export.runtimes.native_library import GanOptions, check, library

KNOWN = Path(__file__).parents[2] / "engine/tests/known"
SEED, THREADS, BATCHES = 7, 4, (1, 2, 5, 16)  # the last one is drawn by the kernels for large batches
Bytes = npt.NDArray[np.uint8]


def same(got: Bytes, want: Bytes) -> None:
    off = np.abs(got.astype(int) - want)
    if off.max() > 1 or np.count_nonzero(off) > max(off.size / 1000, 1):
        raise SystemExit(f"{np.count_nonzero(off)} of {off.size} bytes are not the known ones")


def by_context(file: Path, want: Bytes, rounds: int) -> None:
    lib, handle = library(), c_void_p()
    check(lib.gan_open(bytes(file), None, byref(handle)), str(file))

    def draw(turn: int) -> None:
        for i in range(rounds):
            batch, context = BATCHES[(turn + i) % len(BATCHES)], c_void_p()
            options = GanOptions(threads=2, batch=batch)
            check(lib.gan_context_new(handle, byref(options), byref(context)), str(file))
            got = np.empty_like(want)
            check(lib.gan_generate(context, byref(_range(SEED, 0, len(got))), byref(_output(got))), str(file))
            same(got, want)
            lib.gan_context_free(context)

    together(draw)
    lib.gan_close(handle)


def by_model(file: Path, want: Bytes, rounds: int) -> None:
    with Model(file) as model:

        def draw(turn: int) -> None:
            for i in range(rounds):
                start = (turn + i) % len(want)
                same(model.generate(SEED, len(want) - start, start=start, threads=turn % 2 + 1), want[start:])
                model.latents(SEED, start, 3)

        together(draw)


def together(draw: Callable[[int], None]) -> None:
    """In several threads; an error in one is an error."""
    wrong: list[BaseException] = []

    def run(turn: int) -> None:
        try:
            draw(turn)
        except BaseException as e:
            wrong.append(e)

    threads = [threading.Thread(target=run, args=(turn,)) for turn in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]


def main(rounds: int) -> None:
    for name in ("chain", "labels"):
        file = KNOWN / f"{name}.gan"
        with Model(file) as model:
            channels, height, width = model.image
            cpu = model.cpu
        want = np.fromfile(KNOWN / f"{name}.bytes", np.uint8).reshape(-1, height, width, channels)
        by_context(file, want, rounds)
        by_model(file, want, rounds)
    print(f"{THREADS} threads drew the known pictures, {rounds} times each, by {cpu}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
