"""Mutated `.gan` files through Python: an error of ours or a picture each.

    python -m tests.engine.mutate COUNT [SEED]

One process for them all, so that a crash ends it; a file that takes 5 seconds of the processor ends it too, by
SIGPROF.  Prints how many were drawn and refused and what memory the worst took, in KiB over the start.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from gan_export.errors import GanExportError
from gan_export.exporters import gan_file
from gan_export.runtimes.native import Model

FILES = Path(__file__).parents[2] / "engine/tests/fuzz/corpus"
MAX_MEMORY = 16 << 20  # bytes that a model may use
SLOWEST = 5.0  # seconds of the processor's time: others' work doesn't count
LARGEST = 1 << 16  # numbers in a picture that is drawn
NUMBERS = (0, 1, 2, 3, 7, 15, 16, 17, 64, 65, 1024, 65535, 65536, 2**20, 2**28, 2**31 - 1, 2**31, 2**32 - 1)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bits flipped, numbers of the head replaced, words exchanged, parts cut; mostly resealed after."""
    b = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        head = min(struct.unpack_from("<Q", data, 40)[0], len(b))
        match int(rng.integers(6)):
            case 0:
                b[int(rng.integers(len(b)))] ^= 1 << int(rng.integers(8))
            case 1 | 2:
                at = int(rng.integers(8, head - 4)) // 4 * 4
                struct.pack_into("<I", b, at, NUMBERS[int(rng.integers(len(NUMBERS)))])
            case 3:
                at = int(rng.integers(128, head - 8)) // 8 * 8
                struct.pack_into("<Q", b, at, int(rng.integers(2**63)) >> int(rng.integers(63)))
            case 4:
                one, other = (int(rng.integers(128, head - 32)) // 8 * 8 for _ in range(2))
                b[one : one + 24], b[other : other + 24] = b[other : other + 24], b[one : one + 24]
            case _:
                size = int(rng.integers(len(b))) if rng.integers(8) == 0 else len(b)
                del b[max(size, 16) :]
        if len(b) < 512:
            return bytes(b)
    return reseal(b) if rng.integers(10) else bytes(b)


def reseal(b: bytearray) -> bytes:
    """The file's size and both checksums put right, so that what lies behind them is reached."""
    version, data = struct.unpack_from("<I", b, 8)[0], struct.unpack_from("<Q", b, 40)[0]
    if not (gan_file.HEADER <= data <= len(b) and data % 64 == 0):
        return bytes(b)
    struct.pack_into("<Q", b, 16, len(b))
    struct.pack_into("<Q", b, 48, len(b) - data)
    if version >= gan_file.VERSION:
        return gan_file.sealed(bytes(b[:data]), bytes(b[data:]))
    struct.pack_into("<QQ", b, 112, *sums(bytes(b[data:])))
    struct.pack_into("<QQ", b, 96, 0, 0)
    struct.pack_into("<QQ", b, 96, *sums(bytes(b[:data])))
    return bytes(b)


def sums(data: bytes) -> tuple[int, int]:
    """The checksum of versions 1 and 2: the sum of the 64-bit words, and that of (i + 1) x word i, mod 2^64."""
    words = np.frombuffer(data + bytes(-len(data) % 8), "<u8").astype(np.uint64)
    with np.errstate(over="ignore"):
        weighted = words * np.arange(1, len(words) + 1, dtype=np.uint64)
        return int(words.sum(dtype=np.uint64)), int(weighted.sum(dtype=np.uint64))


def attempt(path: Path) -> str:
    """What became of a file: drawn, or the first words of the error."""
    try:
        with Model(path, max_memory=MAX_MEMORY) as model:
            if int(np.prod(model.image, dtype=np.int64)) > LARGEST:
                return "too large to be drawn here"
            if model.channels:
                return attempt_images(model)
            given = np.ones((2, model.nz), np.float32) if model.prior == "none" else None
            pictures = model.generate(7, 2, latents=given, threads=1)
            assert pictures.shape == (2, *model.image[1:], model.image[0])
            return "drawn"
    except GanExportError as e:
        return str(e).removeprefix(f"{path}: ")


def attempt_images(model: Model) -> str:
    """The same of one that takes images: those of its least size."""
    height, width = model.least
    if height * width * model.channels > LARGEST:
        return "too large to be drawn here"
    made = model.apply(np.zeros((2, height, width, model.channels), np.uint8), threads=1)
    assert made.shape == (2, *model.image[1:], model.image[0])
    return "drawn"


def main(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    originals = [p.read_bytes() for p in sorted(FILES.glob("*.gan"))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated.gan"
        for whole in originals:
            path.write_bytes(whole)
            assert attempt(path) == "drawn"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcomes: Counter[str] = Counter()
        handle = os.open(path, os.O_RDWR)
        for _ in range(count):
            data = mutate(originals[int(rng.integers(len(originals)))], rng)
            os.ftruncate(handle, len(data))
            os.pwrite(handle, data, 0)
            signal.setitimer(signal.ITIMER_PROF, SLOWEST)
            outcomes[attempt(path)] += 1
            signal.setitimer(signal.ITIMER_PROF, 0)
        os.close(handle)
        assert not any("\n" in outcome for outcome in outcomes)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    for outcome, n in outcomes.most_common():
        print(f"{n:8d} {outcome}")
    print(f"{count} files, {outcomes['drawn']} drawn, {grown} KiB at most")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
