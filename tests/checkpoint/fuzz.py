"""Mutated checkpoints, and how each ends: a checkpoint or a refusal, and never anything else.

`python -m checkpoint.fuzz COUNT [FIRST]` from tests/ prints the table.  Mutation i depends on i alone.
"""

from __future__ import annotations

import collections
import concurrent.futures
import io
import json
import multiprocessing
import random
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from gan_export.checkpoint import read
from gan_export.errors import GanExportError

from .guard import ForbiddenError, nothing_runs

SECONDS = 5.0  # of processor time, a file
MEMORY = 3 << 29  # bytes of address space, over what a worker begins with


_SEEDS: list[tuple[str, bytes]] = []


def _begin(seeds: list[tuple[str, bytes]]) -> None:
    """In each worker, which imports no torch, as nothing is judged by evidence: its memory is the reader's."""
    _SEEDS.extend(seeds)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def mutant(number: int) -> tuple[str, bytes]:
    """(what was done to what, the file)"""
    rng = random.Random(number)
    kind, raw = rng.choice(_SEEDS)
    ways = [_flip, _cut, _splice, _keys, _numbers, _within]
    way = ways[rng.randrange(len(ways))]
    return f"{kind} | {way.__name__[1:]}", way(raw, rng)


def _where(raw: bytes, rng: random.Random) -> int:
    """A position, more often near the ends, where structure is."""
    n = max(len(raw), 1)
    return rng.choice((rng.randrange(n), rng.randrange(min(n, 600)), n - 1 - rng.randrange(min(n, 1500))))


def _flip(raw: bytes, rng: random.Random) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        data[_where(raw, rng)] ^= 1 << rng.randrange(8) if rng.random() < 0.5 else rng.randrange(1, 256)
    return bytes(data)


def _cut(raw: bytes, rng: random.Random) -> bytes:
    a = _where(raw, rng)
    if rng.random() < 0.6:
        return raw[:a]
    return raw[:a] + raw[a + rng.choice((1, 2, 4, 8, rng.randrange(1, 3000))) :]


def _splice(raw: bytes, rng: random.Random) -> bytes:
    other = rng.choice(_SEEDS)[1]
    a, b = _where(raw, rng), _where(other, rng)
    size = rng.choice((1, 3, 8, 30, 200, 5000))
    if rng.random() < 0.5:
        return raw[:a] + other[b : b + size] + raw[a:]
    return raw[:a] + other[b : b + size] + raw[a + size :]


_WORDS = (
    b"model", b"weight", b"bias", b"running_var", b"netG", b"netD", b"state", b"torch", b"FloatStorage", b"storage",
    b"cpu", b"_rebuild_tensor_v2", b"OrderedDict", b"collections", b"dtype", b"data.pkl", b"generator", b"F32",
    b"shape", b"_modules",
)  # fmt: skip
_OTHER_WORDS = (
    *_WORDS, b"os", b"posix", b"system", b"eval", b"builtins", b"getattr", b"\x1b[31m", b"\n", b"", b"\xff\xfe",
    b"a" * 300, b"module.module", b"main", b"ema", b"weight_orig", b"LongStorage", b"HalfStorage", b"numpy",
    b"_reconstruct",
)  # fmt: skip


def _keys(raw: bytes, rng: random.Random) -> bytes:
    """Words for other words, of the same length or not, in one place or everywhere; the checksums made right."""
    old, new = rng.choice(_WORDS), rng.choice(_OTHER_WORDS)
    if rng.random() < 0.6:
        new = (new * 20)[: len(old)] if new else old[:-1] + b"\0"
    count = rng.choice((1, 1, 2, -1))
    return _rebuilt(raw, rng, lambda part: part.replace(old, new, count))


_AWKWARD = ((2, 0xFFFF), (4, 0x7FFFFFFF), (4, 0xFFFFFFFF), (8, 2**63 - 1), (8, 0))


def _numbers(raw: bytes, rng: random.Random) -> bytes:
    """A small integer of the pickle, or any four or eight bytes, for an awkward one; the checksums made right."""

    def change(part: bytes) -> bytes:
        at = _where(part, rng)
        width, value = rng.choice(
            ((1, rng.randrange(256)), (2, 0xFFFF), (4, 0x7FFFFFFF), (4, 0xFFFFFFFF), (8, 2**63 - 1), (8, 0))
        )
        small = [i for i in range(len(part) - 1) if part[i : i + 1] == b"K"]
        if small and rng.random() < 0.5:
            at, width, value = rng.choice(small) + 1, 1, rng.choice((0, 1, 2, 3, 5, 255))
        return part[:at] + struct.pack("<Q", value)[:width] + part[at + width :]

    return _rebuilt(raw, rng, change)


def _within(raw: bytes, rng: random.Random) -> bytes:
    """Flips, cuts and splices within one part of the file; the checksums made right."""
    return _rebuilt(raw, rng, lambda part: rng.choice((_flip, _cut, _splice))(part, rng) if part else part)


def _rebuilt(raw: bytes, rng: random.Random, change: Callable[[bytes], bytes]) -> bytes:
    """`change` applied to what a checksum or length guards: a zip archive's entry, a safetensors header."""
    if raw.startswith(b"PK"):
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w") as new, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = old.namelist()
            chosen = next(n for n in names if n.endswith("data.pkl")) if rng.random() < 0.8 else rng.choice(names)
            for name in names:
                part = old.read(name)
                new.writestr(name, change(part) if name == chosen else part)
        return out.getvalue()
    if raw[8:9] == b"{":
        size = int.from_bytes(raw[:8], "little")
        header = change(raw[8 : 8 + size])
        if rng.random() < 0.5:
            header = json.dumps(
                dict.fromkeys(json.loads(raw[8 : 8 + size]), rng.choice((0, None, [], {}, {"dtype": "F32"})))
            ).encode()
        return struct.pack("<Q", len(header)) + header + raw[8 + size :]
    return change(raw)


def outcome(number: int, folder: Path) -> tuple[str, str]:
    """(what was done, how it ended) of one mutant."""
    what, raw = mutant(number)
    path = folder / "m.pth"
    path.write_bytes(raw)
    begin = time.process_time()
    try:
        with nothing_runs():
            checkpoint = read(path, by_evidence=False)
        end = "read"
        if [w.shape for w in checkpoint.weights.values()] != list(checkpoint.spec.parameters().values()):
            end = f"FAILED {number}: shapes"
    except GanExportError as e:
        end = type(e).__name__
        if not str(e).isprintable() or not str(e).startswith("m.pth: ") or len(str(e)) > 4000:
            end = f"FAILED {number}: message {str(e)[:200]!r}"
    except (Exception, ForbiddenError) as e:  # whatever else: the finding
        end = f"FAILED {number}: {type(e).__name__} {str(e)[:200]}"
    if time.process_time() - begin > SECONDS:
        end = f"FAILED {number}: {time.process_time() - begin:.1f} s"
    return what, end


def batch(numbers: range) -> collections.Counter[tuple[str, str]]:
    """Outcomes of a range, counted."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "warm.pth").write_bytes(_SEEDS[0][1])
        read(Path(folder) / "warm.pth", by_evidence=False)
        counts = collections.Counter(outcome(i, Path(folder)) for i in numbers)
        left = sorted(p.name for p in Path(folder).iterdir())
    if left != ["m.pth", "warm.pth"]:
        counts["files", f"FAILED {numbers}: wrote {left}"] += 1
    return counts


def run(first: int, count: int, workers: int = 2) -> collections.Counter[tuple[str, str]]:
    """Outcomes of mutants first..first+count-1."""
    size = max(1, min(250, count // workers))
    parts = [range(i, min(i + size, first + count)) for i in range(first, first + count, size)]
    total: collections.Counter[tuple[str, str]] = collections.Counter()
    from .sound import files  # needs torch, which the workers do without

    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _begin, (files(),)) as pool:
        for part in pool.map(batch, parts, timeout=1200):
            total += part
    return total


def table(counts: collections.Counter[tuple[str, str]]) -> str:
    """Outcomes by mutation, a line each."""
    ends = sorted({e.split(" ", 1)[0] for _, e in counts})
    ways = sorted({w.rsplit(" | ", 1)[-1] for w, _ in counts})
    lines = ["| mutation | " + " | ".join(ends) + " | all |", "|---|" + "---:|" * (len(ends) + 1)]
    for way in [*ways, "all"]:
        cells = [
            sum(n for (w, e), n in counts.items() if way in ("all", w.split(" | ")[-1]) and e.split(" ")[0] == end)
            for end in ends
        ]
        lines.append(f"| {way} | " + " | ".join(f"{c:,}" for c in cells) + f" | {sum(cells):,} |")
    return "\n".join(lines)


if __name__ == "__main__":
    results = run(int(sys.argv[2]) if len(sys.argv) > 2 else 0, int(sys.argv[1]))
    print(table(results))
    for (what, how), n in results.items():
        if how.startswith("FAILED"):
            print(n, what, how)
