"""The C engine and its peers where the machine is not at its best: docs/engine.md's table.

    python benchmarks/conditions.py NAME [--rounds 5]

Images a second of the classic generator, model alone, by native, ONNX Runtime and OpenVINO, each in a process of its
own that takes turns with the others: on all processors; on one thread; with the caches evicted before each call; and
beside a process that spins.  Writes results/conditions-NAME.json (every call's seconds, machine, versions, what others
took of it) and prints the table.
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
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from gan_export import latents, runtimes
from gan_export.bench import machine, models

HERE = Path(__file__).resolve().parent
SIDES = {"native": "g.gan", "onnxruntime": "g.onnx", "openvino": "g.onnx"}
BATCHES, TURN = (1, 64), 0.3  # seconds of a side's turn
EVICTING = 1 << 27  # bytes that are written before a call: four times the last-level cache of common processors


@dataclass(frozen=True, slots=True)
class Condition:
    title: str
    threads: int | None = None
    evicted: bool = False
    neighbour: bool = False


CONDITIONS = (
    Condition("all processors"),
    Condition("one thread", threads=1),
    Condition("caches evicted before each call", evicted=True),
    Condition("beside a process that spins", neighbour=True),
)


def side(runtime: str, path: str, condition: Condition, pipe: Connection) -> None:
    """Seconds of each call of a turn, for each batch that is asked for."""
    session = runtimes.find(runtime).load(Path(path), threads=condition.threads or machine.usable_processors())
    nz = models.find("classic").channels[0]
    bound = {n: session.bind(latents.draw(7, 0, n, nz)) for n in BATCHES}
    dirt = np.zeros(EVICTING // 8)
    for call in bound.values():
        for _ in range(5):
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


def measured(condition: Condition, folder: Path, rounds: int) -> dict[str, dict[int, list[list[float]]]]:
    """side -> batch -> turns of a condition."""
    context = multiprocessing.get_context("spawn")
    pipes, workers = {}, []
    for name, file in SIDES.items():
        pipes[name], theirs = context.Pipe()
        workers.append(context.Process(target=side, args=(name, str(folder / file), condition, theirs)))
        workers[-1].start()
        pipes[name].recv()
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if condition.neighbour else None
    spent: dict[str, dict[int, list[list[float]]]] = {name: {n: [] for n in BATCHES} for name in SIDES}
    try:
        for _ in range(rounds):
            for batch in BATCHES:
                for name, pipe in pipes.items():
                    pipe.send(batch)
                    spent[name][batch].append(pipe.recv())
    finally:
        if neighbour:
            neighbour.kill()
            neighbour.wait()
        for pipe in pipes.values():
            pipe.send(None)
        for worker in workers:
            worker.join()
    return spent


def rate(batch: int, turns: list[list[float]]) -> float:
    """Images a second: the median of the turns' medians."""
    return batch / statistics.median(statistics.median(times) for times in turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        models.write_checkpoint(models.find("classic"), folder / "g.pth")
        for kind, file in (("native", "g.gan"), ("onnx", "g.onnx")):
            export = [sys.executable, "-c", "from gan_export.cli.export import main; main()", kind]
            subprocess.run([*export, folder / "g.pth", "-o", folder / file], check=True, stdout=subprocess.DEVNULL)
        before, used = machine.load(), resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = {condition.title: measured(condition, folder, given.rounds) for condition in CONDITIONS}
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    foreign, stolen = machine.shares(before, machine.load(), ours)
    result = {
        "what": "seconds of calls of the classic generator, model alone, by condition, side, batch and turn",
        "machine": asdict(machine.describe()), "versions": machine.versions(), "commit": machine.commit(),
        "foreign": foreign, "stolen": stolen, "calls": spent,
    }  # fmt: skip
    (HERE / "results" / f"conditions-{given.name}.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(f"Other processes took {foreign:.0%} of the processors, other virtual machines {stolen:.0%}.\n")
    print("| | Batch | " + " | ".join(SIDES) + " | native / best peer |\n|---|---|" + "---|" * (len(SIDES) + 1))
    for title, sides in spent.items():
        for batch in BATCHES:
            rates = [rate(batch, turns[batch]) for turns in sides.values()]
            cells = " | ".join(f"{r:,.0f}/s" for r in rates)
            print(f"| {title} | {batch} | {cells} | {rates[0] / max(rates[1:]):.2f} |")


if __name__ == "__main__":
    main()
