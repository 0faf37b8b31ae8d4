"""Measure the C engine and its peers in bad conditions, for docs/engine.md's table.

    python benchmarks/conditions.py NAME [--rounds 5] [--batches 1,64] [--only "all processors"]

Images per second of the classic generator (only the model) by native, ONNX Runtime and OpenVINO, each in a process of
its own, in turns: on all processors; on one thread; with the caches evicted before each call; and beside a process that
spins.  A round has a turn of each batch size, so that these can be compared: the last column is the engine's images per
second relative to the batch size before, paired by rounds.  Writes results/conditions-NAME.json (every call's seconds,
machine, versions, other processes' share of it) and prints the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from gan_export import latents, runtimes
from gan_export.bench import environment, models, stats

HERE = Path(__file__).resolve().parent
SIDES = {"native": "g.gan", "onnxruntime": "g.onnx", "openvino": "g.onnx"}
TURN = 0.3  # seconds of a side's turn
EVICTING = 1 << 27  # bytes that are written before a call: four times the last-level cache of common processors


@dataclass(frozen=True, slots=True)
class Condition:
    title: str
    threads: int | None = None
    evicted: bool = False
    neighbor: bool = False


CONDITIONS = (
    Condition("all processors"),
    Condition("one thread", threads=1),
    Condition("caches evicted before each call", evicted=True),
    Condition("beside a process that spins", neighbor=True),
)


def side(runtime: str, path: str, condition: Condition, batches: Sequence[int], pipe: Connection) -> None:
    """Answer a list of batch sizes with the seconds of each call of a turn."""
    session = runtimes.find(runtime).load(Path(path), threads=condition.threads or environment.usable_processors())
    nz = models.find("classic").channels[0]
    bound = {n: session.bind({"z": latents.draw(7, 0, n, nz)}) for n in batches}
    dirt = np.zeros(EVICTING // 8)
    for call in bound.values():
        for _ in range(3):
            call()
    pipe.send("ready")
    while (batch := pipe.recv()) is not None:
        call = bound[batch]
        times: list[float] = []
        call()
        while sum(times) < TURN:
            if condition.evicted:
                dirt += 1
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        pipe.send(times)


def measured(
    condition: Condition, folder: Path, rounds: int, batches: Sequence[int]
) -> dict[str, dict[int, list[list[float]]]]:
    """Return the turns of a condition: side -> batch -> turns."""
    context = multiprocessing.get_context("spawn")
    pipes, workers = {}, []
    for name, file in SIDES.items():
        pipes[name], theirs = context.Pipe()
        workers.append(
            context.Process(target=side, args=(name, str(folder / file), condition, batches, theirs), daemon=True)
        )
        workers[-1].start()
        theirs.close()  # only the worker has it now, so that its death is an end of file here
        try:
            pipes[name].recv()
        except EOFError:
            raise SystemExit(f"{name} can't be measured; what it said is above") from None
    neighbor = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if condition.neighbor else None
    spent: dict[str, dict[int, list[list[float]]]] = {name: {n: [] for n in batches} for name in SIDES}
    try:
        for _ in range(rounds):
            for batch in batches:
                for name, pipe in pipes.items():
                    pipe.send(batch)
                    spent[name][batch].append(pipe.recv())
    finally:
        if neighbor:
            neighbor.kill()
            neighbor.wait()
        for pipe in pipes.values():
            pipe.send(None)
        for worker in workers:
            worker.join()
    return spent


def rate(batch: int, turns: list[list[float]]) -> float:
    """Return images per second: the median of the turns' medians."""
    return batch / statistics.median(statistics.median(times) for times in turns)


def step(before: int, batch: int, turns: dict[int, list[list[float]]]) -> str:
    """Return the images per second of `batch` relative to those of the batch size before, with the 95 % interval."""
    blocks = [[[round(1e9 * t / n) for t in turn] for turn in turns[n]] for n in (before, batch)]
    found = stats.paired_ratio(*blocks)
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", default="1,64")
    parser.add_argument("--only", action="append", choices=[c.title for c in CONDITIONS], help="a condition")
    given = parser.parse_args()
    if not given.name.replace("-", "").isalnum():
        parser.error(f"{given.name}: a name of letters, digits and hyphens is needed")
    if given.rounds < 2:
        parser.error(f"--rounds {given.rounds}: 2 or more are needed")
    words = given.batches.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        parser.error(f"--batches {given.batches}: whole numbers from 1 on, with commas between, are needed")
    batches = [int(word) for word in words]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        models.write_checkpoint(models.find("classic"), folder / "g.pth")
        for kind, file in (("native", "g.gan"), ("onnx", "g.onnx")):
            export = [sys.executable, "-c", "from gan_export.cli.export import main; main()", kind]
            subprocess.run([*export, folder / "g.pth", "-o", folder / file], check=True, stdout=subprocess.DEVNULL)
        before, used = environment.load(), resource.getrusage(resource.RUSAGE_CHILDREN)
        chosen = [c for c in CONDITIONS if not given.only or c.title in given.only]
        spent = {c.title: measured(c, folder, given.rounds, batches) for c in chosen}
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    foreign, stolen = environment.shares(before, environment.load(), ours)
    result = {
        "what": "seconds of calls of the classic generator, model alone, by condition, side, batch and turn",
        "machine": asdict(environment.describe()), "versions": environment.versions(), "commit": environment.commit(),
        "foreign": foreign, "stolen": stolen, "calls": spent,
    }  # fmt: skip
    (HERE / "results" / f"conditions-{given.name}.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(f"Other processes took {foreign:.0%} of the processors, other virtual machines {stolen:.0%}.\n")
    columns = ["", "Batch", *SIDES, "native / best peer", "native / batch before"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for title, sides in spent.items():
        for before, batch in zip([0, *batches], batches, strict=False):
            rates = [rate(batch, turns[batch]) for turns in sides.values()]
            fall = step(before, batch, sides["native"]) if before else ""
            cells = " | ".join(f"{r:,.0f}/s" for r in rates)
            print(f"| {title} | {batch} | {cells} | {rates[0] / max(rates[1:]):.2f} | {fall} |")


if __name__ == "__main__":
    main()
