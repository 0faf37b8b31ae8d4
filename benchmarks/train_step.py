"""Compare images per second of the trainer's step with the classic loop: same batch, same updates, in turns.

    python benchmarks/train_step.py [--device cuda] [--data-root DIR] [--rounds 8] [--steps 3] [--threads N] [--bf16]

Each contender has a process of its own and runs `steps` steps per turn while the others wait.  The first is
train/classic.py's loop with its data in memory (of the GPU, if there is one); each of the next ones omits or changes
one more thing, up to the trainer itself, so that the effect of each can be seen.  If --data-root contains MNIST, the
write-up's own DataLoader runs too.  On CUDA, all use torch's default settings (TF32 for convolutions, cuDNN's default
algorithms), and a turn is timed as a whole, until its last kernel ends. Writes results/train_step-NAME.json (raw
seconds, machine, versions) beside this file.
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
    """The classic step with some of it omitted or changed."""

    name: str
    loader: bool = False  # images through the write-up's DataLoader instead of from memory
    no_generator_backward: bool = False  # in the discriminator's turn
    no_discriminator_gradients: bool = False  # of its weights, in the generator's turn
    fused: bool = False  # Adam
    trainer: bool = False  # gan_export.training itself
    channels_last: bool = False
    product: bool = False  # no training: one square matrix product, the measure of the machine's peak
    settings: tuple[str, ...] = ()  # of the trainer's recipe


SIDE = {"cpu": 2048, "cuda": 8192}  # side of the measure's matrices: float32, bfloat16
BF16 = Contender("+ bf16", trainer=True, channels_last=True, settings=("compute.autocast=bf16",))
CONTENDERS = (
    Contender("classic loop, data in memory"),
    Contender("classic loop, its own DataLoader", loader=True),
    Contender("+ no generator backward in D's turn", no_generator_backward=True),
    Contender("+ no weight gradients of D in G's turn", no_generator_backward=True, no_discriminator_gradients=True),
    Contender("+ fused Adam", no_generator_backward=True, no_discriminator_gradients=True, fused=True),
    Contender("+ channels_last: the trainer", trainer=True, channels_last=True),
    BF16,
    Contender("matrix product", product=True),
)
CUDA_CONTENDERS = (
    Contender("classic loop, data in memory"),
    Contender("classic loop, its own DataLoader", loader=True),
    Contender("the trainer, unrecorded", trainer=True, channels_last=True, settings=("compute.graphs=false",)),
    Contender("+ recorded steps: the trainer", trainer=True, channels_last=True),
    Contender("the same again", trainer=True, channels_last=True),
    Contender("+ what cuDNN likes", trainer=True, channels_last=True, settings=("compute.deterministic=false",)),
    BF16,
    Contender(
        "+ bf16, what cuDNN likes",
        trainer=True,
        channels_last=True,
        settings=("compute.autocast=bf16", "compute.deterministic=false"),
    ),
    Contender("matrix product", product=True),
)


def stepper(c: Contender, device: torch.device, root: str | None) -> Callable[[], None]:
    """Return one step of the contender, including its data."""
    if c.trainer:
        return _trainer(device, c.settings)
    if c.product:
        shape = (SIDE[device.type],) * 2
        a, b = (torch.randn(shape, device=device, dtype=_product_type(device)) for _ in range(2))
        return lambda: _ignore(a @ b)
    import classic  # type: ignore[import-not-found]

    torch.manual_seed(0)
    players = classic.Players()
    for net in (players.g, players.d):
        net.to(device)
    if c.fused:
        for name, net in (("adam_g", players.g), ("adam_d", players.d)):
            setattr(players, name, optim.Adam(net.parameters(), lr=classic.LR, betas=classic.BETAS, fused=True))
    batches = _through_loader(classic.loader(root)) if c.loader else _from_memory(device)

    def draw(count: int) -> Tensor:
        return torch.randn(count, classic.NZ, 1, 1, device=device)

    if not c.no_generator_backward:
        return lambda: _ignore(classic.step(players, next(batches).to(device), draw))
    return lambda: _partly(c, players, next(batches), draw)


def _product_type(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _partly(c: Contender, p: Any, real: Tensor, draw: Callable[[int], Tensor]) -> None:
    """Run classic.step without what the contender omits."""
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


def _trainer(device: torch.device, settings: tuple[str, ...] = ()) -> Callable[[], None]:
    from gan_export.training import recipe, snapshot
    from gan_export.training.batches import Batches
    from gan_export.training.data import open_source
    from gan_export.training.trainer import make_step

    own = ["data.source=mnist-10k", f"train.batch={BATCH}", "data.drop_last=true", f"compute.device={device}"]
    r = recipe.load("mnist32-classic", [*own, *settings])
    now = snapshot.start(r, device)
    source = open_source(r.data, None)
    batches = Batches(source, r, now.device)
    per_epoch = len(source) // BATCH
    move = make_step(now)

    def run() -> None:
        move(batches.get(*divmod(now.step, per_epoch)), None)
        now.step += 1

    return run


def _from_memory(device: torch.device) -> Iterator[Tensor]:
    """Yield shuffled batches of the bundled digits, in memory as float32 from the start."""
    from gan_export.training import recipe
    from gan_export.training.data import open_source

    source = open_source(recipe.Data(), None)
    kept = (torch.from_numpy(source.read(np.arange(len(source)))).float() / 127.5 - 1).to(device)
    while True:
        for indices in torch.randperm(len(kept), device=device).split(BATCH)[: len(kept) // BATCH]:
            yield kept[indices]


def _through_loader(loader: Any) -> Iterator[Tensor]:
    while True:
        for real, _ in loader:
            if len(real) == BATCH:
                yield real


def _ignore(_: object) -> None:
    pass


def worker(c: Contender, device: str, root: str | None, threads: int, pipe: Connection) -> None:
    """Wait for a number of steps, run them, and answer with the seconds of each; on CUDA only with their mean."""
    torch.set_num_threads(threads)
    run = stepper(c, torch.device(device), root)
    pipe.send("ready")
    while steps := pipe.recv():
        pipe.send(_on_cuda(run, steps) if device.startswith("cuda") else [_seconds(run) for _ in range(steps)])


def _seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _on_cuda(run: Callable[[], None], steps: int) -> list[float]:
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        run()
    torch.cuda.synchronize()
    return [(time.perf_counter() - began) / steps]


def flops_a_picture() -> float:
    """Return the trainer's FLOPs per image, counted by torch.

    Those that both updates need, equal for all contenders.
    """
    from torch.utils.flop_counter import FlopCounterMode

    run = _trainer(torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / BATCH


def main() -> None:
    from gan_export.bench import environment

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--data-root")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, help="a turn; 3 on the CPU, 50 on CUDA")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action="store_true", help="the trainer in bf16, too, on a CPU that is quicker in it")
    parser.add_argument("--name", help="of the result file; the device")
    parser.add_argument("--folder", type=Path, default=HERE / "results", help="of the result file")
    given = parser.parse_args()
    listed, steps = (CONTENDERS, 3) if given.device == "cpu" else (CUDA_CONTENDERS, 50)
    narrow = given.bf16 or given.device != "cpu"
    contenders = [c for c in listed if (given.data_root or not c.loader) and (narrow or c != BF16)]
    steps = given.steps or steps

    context = multiprocessing.get_context("spawn")
    pipes = []
    for c in contenders:
        ours, theirs = context.Pipe()
        words = (c, given.device, given.data_root, given.threads, theirs)
        context.Process(target=worker, args=words, daemon=True).start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:  # warm-up, one process at a time
        pipe.send(max(2, steps // 4))
        pipe.recv()
    before = environment.load()
    rounds: list[list[list[float]]] = []  # round, contender, step
    for i in range(given.rounds):
        turn: dict[int, list[float]] = {}
        order = range(len(pipes)) if i % 2 == 0 else reversed(range(len(pipes)))
        for j in order:
            pipes[j].send(steps)
            turn[j] = pipes[j].recv()
        rounds.append([turn[j] for j in range(len(pipes))])
        print(f"round {i + 1} of {given.rounds}", file=sys.stderr)
    after = environment.load()
    for pipe in pipes:
        pipe.send(0)

    # the fastest product of all turns: the machine's best, whatever the turns were
    peak = 2 * SIDE[given.device] ** 3 / min(min(turn[-1]) for turn in rounds)
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
        "what": "training step, batch 128, classic widths", "device": given.device, "threads": given.threads,
        "machine": asdict(environment.describe()), "versions": environment.versions(), "commit": environment.commit(),
        "load_average": [before.average, after.average], "steps_a_turn": steps,
        "needed_flops_a_picture": work, "matrix_product_peak_flops": peak, "table": table,
        "contenders": [asdict(c) for c in contenders], "seconds": rounds,
    }  # fmt: skip
    target = given.folder / f"train_step-{given.name or given.device}.json"
    target.parent.mkdir(exist_ok=True, parents=True)
    target.write_text(json.dumps(result) + "\n", encoding="utf-8")
    for row in table:
        fastest, share = row["fastest_images_per_second"], row["fastest_share_of_peak"]
        print(
            f"{row['name']:40} {row['images_per_second']:7.1f} img/s  {row['times_classic']:.2f}x "
            f"({row['times_classic_low']:.2f} to {row['times_classic_high']:.2f})  "
            f"fastest {fastest:.1f} img/s, {share:.0%} of the matrix product's rate"
        )
    print(target)


if __name__ == "__main__":
    main()
