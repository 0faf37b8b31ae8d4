"""A search for files that cost more to read than their size allows: structure is varied, not bytes.

`python -m tests.checkpoint.costs --minutes 60` prints the worst that it found.  A file is made from a recipe, a few
numbers that say how wide, deep, long, shared and cyclic its parts are; recipes are varied towards what costs most.
The same seed tries the same recipes, as long as the time measured for each doesn't reorder them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from .recipes import KINDS, MOST_BYTES, Recipe, drawn, made, varied

SECONDS, MEMORY = 30, 8 << 30  # a child's limits of time and addresses: beyond them it is a finding, whatever it costs
MIB = 1 << 20
PACE = 0.012  # seconds that `_pace` takes on a core of a server of 2021 that has nothing else to do


@dataclass(frozen=True, slots=True)
class Cost:
    """What reading a file took.

    seconds: of a processor as fast as PACE says.  memory: the process's peak, in bytes.  end: how it ended.
    """

    size: int
    seconds: float
    memory: int
    end: str

    @property
    def share(self) -> tuple[float, float]:
        """Of what is allowed: of the time, and of the memory."""
        return self.seconds / allowed_seconds(self.size), self.memory / allowed_memory(self.size)


def allowed_seconds(size: int) -> float:
    """For a file that is nothing but pickle or header."""
    return 1 + size / 10_000_000


def allowed_memory(size: int) -> int:
    return 2 * size + 768 * MIB


def _pace() -> float:
    """How fast this processor is now: what else runs on the machine makes each instruction slower."""
    begin = time.process_time()
    table: dict[int, tuple[int, ...]] = {}
    for i in range(100_000):
        table[i & 4095] = (i, i + 1)
    return time.process_time() - begin


# -- the search


def measured(path: Path) -> Cost:
    """What reading the file takes, in a fork of its own."""
    from gan_export.checkpoint import read
    from gan_export.errors import GanExportError

    size = path.stat().st_size
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.close(receive)
        end = "crashed"
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
            before = min(_pace() for _ in range(3))
            begin = time.process_time()
            try:
                read(path)
                end = "read"
            except GanExportError as e:
                end = type(e).__name__ if str(e).isprintable() and len(str(e)) < 4000 else f"a message of {len(str(e))}"
            except BaseException as e:  # whatever else: the finding
                end = f"CRASHED {type(e).__name__}"
            taken = time.process_time() - begin
            taken /= max(1.0, (before + min(_pace() for _ in range(3))) / 2 / PACE)
            status = Path("/proc/self/status").read_text()
            most = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))
            os.write(send, json.dumps([taken, most, end]).encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as answer:
        reply = answer.read()
    _, _, used = os.wait4(child, 0)
    if not reply:  # ended by a limit
        return Cost(size, used.ru_utime + used.ru_stime, MEMORY, "ENDED")
    taken, most, end = json.loads(reply)
    return Cost(size, taken, most, end)


def search(minutes: float, seed: int, show: Callable[[str], None]) -> list[tuple[Recipe, Cost]]:
    """What was found, worst first: the worst of each kind of file and way to end, by time and by memory."""
    rng = random.Random(seed)
    stop = time.monotonic() + 60 * minutes
    pool: dict[tuple[int, int], list[tuple[float, Recipe, Cost]]] = {}
    tried = 0
    with tempfile.TemporaryDirectory() as name:
        for turn in itertools.count():
            if time.monotonic() > stop:
                break
            kind, aim = turn % len(KINDS), (turn // len(KINDS)) % 2
            best = pool.setdefault((kind, aim), [])
            recipe = drawn(rng, kind) if len(best) < 6 or rng.random() < 0.25 else varied(rng.choice(best)[1], rng)
            raw = made(recipe)
            if len(raw) > 2 * MOST_BYTES:
                continue
            (Path(name) / "f").write_bytes(raw)
            del raw
            cost = measured(Path(name) / "f")
            tried += 1
            for each in (0, 1):
                ranked = pool.setdefault((kind, each), [])
                ranked.append((cost.share[each], recipe, cost))
                ranked.sort(key=lambda item: -item[0])
                del ranked[12:]
            if max(cost.share) > 1 or cost.end.isupper() or cost.end.startswith("CRASHED"):
                show(f"{tried}: {line(recipe, cost)}")
    show(f"{tried:,} files tried")
    found = {json.dumps(r): (r, c) for ranked in pool.values() for _, r, c in ranked}
    return sorted(found.values(), key=lambda item: -max(item[1].share))


def line(recipe: Recipe, cost: Cost) -> str:
    """One finding in words."""
    time_share, memory_share = cost.share
    kind = KINDS[recipe["kind"] % len(KINDS)].__name__
    return (
        f"{kind}: {cost.size:,} bytes, {cost.seconds:.2f} s ({time_share:.0%} of what is allowed, "
        f"{cost.seconds / cost.size * 1e6:.1f} us a byte), {cost.memory / MIB:.0f} MiB ({memory_share:.0%}), {cost.end}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--read", type=Path, nargs="+", help="measure these files, as JSON, and search for none")
    parser.add_argument("--keep", type=Path, help="write the worst ten recipes to this file")
    arguments = parser.parse_args()
    import gan_export.checkpoint  # before the first fork, so that no child pays for it
    import gan_export.recognize.detect  # noqa: F401

    if arguments.read:
        for path in arguments.read:
            print(json.dumps(asdict(measured(path))))
        return
    found = search(arguments.minutes, arguments.seed, lambda text: print(text, flush=True))[:10]
    for recipe, cost in found:
        print(line(recipe, cost))
    if arguments.keep:
        arguments.keep.write_text("[\n" + ",\n".join(json.dumps(r) for r, _ in found) + "\n]\n")


if __name__ == "__main__":
    sys.exit(main())
