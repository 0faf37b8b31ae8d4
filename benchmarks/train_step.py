"""Images a second of the trainer's step against the classic loop as written: same batch, same updates, in turns.

    python benchmarks/train_step.py [--data-root DIR] [--rounds 8] [--steps 3] [--threads N]

Each contender lives in a process of its own and runs `steps` steps a turn while the others wait.  The first is
train/classic.py's loop with its data in memory; those after it leave out or change one thing more each, down to
the trainer itself, so that what each gave can be read off.  Where --data-root holds MNIST, the write-up's own
DataLoader runs beside them.  Writes results/train_step-HOST.json (raw seconds, machine, versions) beside this file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "train")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn, optim  # noqa: E402

BATCH = 128


@dataclass(frozen=True)
class Contender:
    """The classic step with some of it left out or done otherwise."""

    name: str
    loader: bool = False  # pictures through the write-up's DataLoader instead of from memory
    no_generator_backward: bool = False  # in the discriminator's turn
    no_discriminator_gradients: bool = False  # of its weights, in the generator's turn
    fused: bool = False  # Adam
    trainer: bool = False  # gan_export.training itself
    channels_last: bool = False
    product: bool = False  # no training at all: one square matrix product, the yardstick of the machine's peak


SIDE = 2048  # of the yardstick's matrices
CONTENDERS = (
    Contender("classic loop, data in memory"),
    Contender("classic loop, its own DataLoader", loader=True),
    Contender("+ no generator backward in D's turn", no_generator_backward=True),
    Contender("+ no weight gradients of D in G's turn", no_generator_backward=True, no_discriminator_gradients=True),
    Contender("+ fused Adam", no_generator_backward=True, no_discriminator_gradients=True, fused=True),
    Contender("+ channels_last: the trainer", trainer=True, channels_last=True),
    Contender("matrix product", product=True),
)


def stepper(c: Contender, root: str | None) -> Callable[[], None]:
    """One step of the contender, data and all."""
    if c.trainer:
        return _trainer()
    if c.product:
        a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
        return lambda: _ignore(a @ b)
    import classic  # type: ignore[import-not-found]

    torch.manual_seed(0)
    players = classic.Players()
    if c.fused:
        for name, net in (("adam_g", players.g), ("adam_d", players.d)):
            setattr(players, name, optim.Adam(net.parameters(), lr=classic.LR, betas=classic.BETAS, fused=True))
    batches = _through_loader(classic.loader(root)) if c.loader else _from_memory()

    def draw(count: int) -> Tensor:
        return torch.randn(count, classic.NZ, 1, 1)

    if not c.no_generator_backward:
        return lambda: _ignore(classic.step(players, next(batches), draw))
    return lambda: _partly(c, players, next(batches), draw)


def _partly(c: Contender, p: Any, real: Tensor, draw: Callable[[int], Tensor]) -> None:
    """classic.step with what the contender leaves out."""
    bce = nn.BCELoss()
    with torch.no_grad():
        pictures = p.g(draw(len(real)))
    generated, scored = p.d(pictures), p.d(real)
    loss_d = (bce(generated, torch.zeros_like(generated)) + bce(scored, torch.ones_like(scored))) / 2
    p.adam_d.zero_grad()
    loss_d.backward()
    p.adam_d.step()
    p.d.requires_grad_(not c.no_discriminator_gradients)
    generated = p.d(p.g(draw(len(real))))
    loss_g = bce(generated, torch.ones_like(generated))
    p.adam_g.zero_grad()
    loss_g.backward()
    p.adam_g.step()
    p.d.requires_grad_(True)


def _trainer() -> Callable[[], None]:
    from gan_export.training import recipe, state, step
    from gan_export.training.batches import Batches
    from gan_export.training.data import open_source

    r = recipe.load("mnist32-classic", ["data.source=mnist-10k", f"train.batch={BATCH}", "data.drop_last=true"])
    now = state.start(r, torch.device("cpu"))
    source = open_source(r.data, None)
    batches = Batches(source, r, now.device)
    per_epoch = len(source) // BATCH

    def run() -> None:
        step.step(now, batches.get(*divmod(now.step, per_epoch)))
        now.step += 1

    return run


def _from_memory() -> Iterator[Tensor]:
    """Shuffled batches of the digits that ship, float32 in memory from the start."""
    from gan_export.training import recipe
    from gan_export.training.data import open_source

    source = open_source(recipe.Data(), None)
    kept = torch.from_numpy(source.read(np.arange(len(source)))).float() / 127.5 - 1
    while True:
        for indices in torch.randperm(len(kept)).split(BATCH)[: len(kept) // BATCH]:
            yield kept[indices]


def _through_loader(loader: Any) -> Iterator[Tensor]:
    while True:
        for real, _ in loader:
            if len(real) == BATCH:
                yield real


def _ignore(_: object) -> None:
    pass


def worker(c: Contender, root: str | None, threads: int, pipe: Connection) -> None:
    """Waits for a number of steps, runs them, answers with the seconds of each."""
    torch.set_num_threads(threads)
    run = stepper(c, root)
    pipe.send("ready")
    while steps := pipe.recv():
        seconds = []
        for _ in range(steps):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        pipe.send(seconds)


def flops_a_picture() -> float:
    """Of the trainer's step, counted by torch: what both updates need, the same for every contender."""
    from torch.utils.flop_counter import FlopCounterMode

    run = _trainer()
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / BATCH


def main() -> None:
    from gan_export.bench import machine

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--name", default="cpu", help="of the result file")
    given = parser.parse_args()
    contenders = [c for c in CONTENDERS if given.data_root or not c.loader]

    context = multiprocessing.get_context("spawn")
    pipes = []
    for c in contenders:
        ours, theirs = context.Pipe()
        context.Process(target=worker, args=(c, given.data_root, given.threads, theirs), daemon=True).start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:  # warm-up, alone
        pipe.send(2)
        pipe.recv()
    before = machine.load()
    rounds: list[list[list[float]]] = []  # round, contender, step
    for i in range(given.rounds):
        turn: dict[int, list[float]] = {}
        order = range(len(pipes)) if i % 2 == 0 else reversed(range(len(pipes)))
        for j in order:
            pipes[j].send(given.steps)
            turn[j] = pipes[j].recv()
        rounds.append([turn[j] for j in range(len(pipes))])
        print(f"round {i + 1} of {given.rounds}", file=sys.stderr)
    after = machine.load()
    for pipe in pipes:
        pipe.send(0)

    # the fastest product of all turns: the machine as it can be, however the turns went
    peak = 2 * SIDE**3 / min(min(turn[-1]) for turn in rounds)
    work = flops_a_picture()
    medians = [[statistics.median(turn[j]) for turn in rounds] for j in range(len(contenders))]
    table = []
    for c, own in list(zip(contenders, medians, strict=True))[:-1]:
        ratios = sorted(first / mine for first, mine in zip(medians[0], own, strict=True))
        rate = BATCH / statistics.median(own)
        fastest = BATCH / min(min(turn[len(table)]) for turn in rounds)
        table.append({
            "name": c.name, "images_per_second": rate, "times_classic": statistics.median(ratios),
            "times_classic_low": ratios[0], "times_classic_high": ratios[-1],
            "fastest_images_per_second": fastest, "fastest_share_of_peak": fastest * work / peak,
        })  # fmt: skip
    result = {
        "what": "training step, batch 128, classic widths", "threads": given.threads,
        "machine": asdict(machine.describe()), "versions": machine.versions(), "commit": machine.commit(),
        "load_average": [before.average, after.average], "steps_a_turn": given.steps,
        "needed_flops_a_picture": work, "matrix_product_peak_flops": peak, "table": table,
        "contenders": [asdict(c) for c in contenders], "seconds": rounds,
    }  # fmt: skip
    target = HERE / "results" / f"train_step-{given.name}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result) + "\n", encoding="utf-8")
    for row in table:
        fastest, share = row["fastest_images_per_second"], row["fastest_share_of_peak"]
        print(
            f"{row['name']:40} {row['images_per_second']:7.1f} img/s  {row['times_classic']:.2f}x "
            f"({row['times_classic_low']:.2f} to {row['times_classic_high']:.2f})  "
            f"fastest {fastest:.1f} img/s, {share:.0%} of the matrix product's rate"
        )
    print(f"{target.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
