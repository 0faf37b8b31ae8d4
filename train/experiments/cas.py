"""Train classifiers on generated digits, and test them on MNIST's real test digits.

    python train/experiments/cas.py alone GENERATOR DATA_ROOT          # 60,000 generated digits and no real one
    python train/experiments/cas.py pick DATA_ROOT few.npz             # 20 real digits per class
    python train/experiments/cas.py few few.npz GENERATOR DATA_ROOT    # only those, and with generated ones

GENERATOR must be conditional, and one file: an export or a checkpoint.  The classifier is the network of
`train/experiments/judge.py`, trained by its loop with its shifts, rotations and scalings; the result is its accuracy
after the last step.  Figures are printed and, with --keep NAME, stored in train/records/cas.json under that name.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge import BATCH, accuracy, digits, fit
from torch import Tensor

import gan_export

KEPT = Path(__file__).resolve().parent.parent / "records" / "cas.json"
CLASSES = 10
DRAW_SEED = 1
Set = tuple[Tensor, Tensor]  # images, uint8 (N, 1, 32, 32), and their labels (N,)


def generated(generator: Path, count: int) -> Set:
    """Return images 0 .. count-1 of DRAW_SEED with labels i mod 10.

    Raise gan_export.GanExportError unless there are ten classes.
    """
    with gan_export.open(generator) as opened:
        if opened.classes != CLASSES:
            raise gan_export.GanExportError(f"{generator} has {opened.classes} classes; it must have 10")
        drawn = opened.sample(count, seed=DRAW_SEED, labels="all")
    pictures = torch.from_numpy(drawn).permute(0, 3, 1, 2).contiguous()
    return pictures, torch.arange(count) % CLASSES


def alone(drawn: Set, root: str, epochs: int, seed: int) -> dict[str, Any]:
    """Return the classification accuracy score: trained on generated digits, tested on real ones."""
    count = len(drawn[1])
    steps = epochs * (count // BATCH)
    return {"generated": count, "steps": steps, "accuracy": accuracy(fit([drawn], steps, seed), root)}


def pick(root: str, target: Path, each: int, seed: int) -> None:
    """Write `each` digits per class of MNIST's training set, chosen by the seed: `images` and `labels`."""
    pictures, labels = digits(root, train=True)
    random = np.random.default_rng(seed)
    of_class = [np.flatnonzero(labels.numpy() == k) for k in range(CLASSES)]
    chosen = np.concatenate([random.choice(these, each, replace=False) for these in of_class])
    with target.open("wb") as file:
        np.savez_compressed(file, images=pictures.numpy()[chosen, 0], labels=labels.numpy()[chosen])


def few(file: Path, drawn: Set, root: str, seeds: range, steps: int) -> dict[str, Any]:
    """Train in three ways with equal steps, a classifier per seed: on real digits, on generated ones, half and half."""
    with np.load(file) as held:
        real = torch.from_numpy(held["images"][:, None]), torch.from_numpy(held["labels"])
    results: dict[str, Any] = {"real": len(real[1]), "generated": len(drawn[1]), "steps": steps}
    for name, sets in (("real_alone", [real]), ("generated_alone", [drawn]), ("both", [real, drawn])):
        results[name] = [accuracy(fit(sets, steps, seed), root) for seed in seeds]
    return results


def keep(name: str, results: Mapping[str, Any]) -> None:
    """Store a result in KEPT as `name`, with the versions that computed it."""
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    machine = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    kept[name] = {**results, **machine}
    KEPT.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_alone, of_pick, of_few = (commands.add_parser(name) for name in ("alone", "pick", "few"))
    of_pick.add_argument("root")
    of_pick.add_argument("file", type=Path)
    of_pick.add_argument("--each", type=int, default=20)
    of_few.add_argument("file", type=Path)
    for command, count in ((of_alone, 60_000), (of_few, 20_000)):
        command.add_argument("generator", type=Path)
        command.add_argument("root")
        command.add_argument("--count", type=int, default=count, help="number of generated images")
        command.add_argument("--keep", metavar="NAME")
    of_alone.add_argument("--epochs", type=int, default=4)
    of_few.add_argument("--steps", type=int, default=600)
    of_few.add_argument("--seeds", type=int, default=3, help="number of classifiers per training set")
    for command in (of_alone, of_pick):
        command.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        if given.command == "pick":
            pick(given.root, given.file, given.each, given.seed)
            return
        drawn = generated(given.generator, given.count)
        digest = hashlib.sha256(given.generator.read_bytes()).hexdigest()
    except (gan_export.GanExportError, OSError) as e:
        parser.error(str(e))
    if given.command == "alone":
        results = alone(drawn, given.root, given.epochs, given.seed)
    else:
        results = few(given.file, drawn, given.root, range(given.seeds), given.steps)
    results["generator_sha256"] = digest
    print(json.dumps(results, indent=2))
    if given.keep:
        keep(given.keep, results)


if __name__ == "__main__":
    main()
