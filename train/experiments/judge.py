"""Train and pack a small classifier of digits, which evaluates a generator's images.

    python train/experiments/judge.py train DATA_ROOT runs/judge.pth        # minutes on 2 cores; prints its accuracy
    python train/experiments/judge.py pack runs/judge.pth DATA_ROOT  # -> gan_export/data/digits-judge.npz

It is never used to train a generator.  The packed file is read by `gan_export.metrics.distances`, in float16; the
accuracy in it is that of the rounded weights, measured by `gan_export.metrics.distances` itself.  Images are 32x32 in
[-1, 1], as the generators return them.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gan_export._lib.fs import atomic_file
from gan_export.metrics import distances
from gan_export.metrics.digits import SURE, Classifier
from gan_export.training.data import resized

PACKED = Path(__file__).resolve().parents[2] / "gan_export" / "data" / "digits-judge.npz"
FLOORS = (1_000, 2_500, 5_000, 10_000)  # numbers of images for which floors are measured
BATCH = 128
FEATURES = 128  # of the layer before the last, in which the Frechet distance is computed


class Judge(nn.Module):
    """A classifier: (N, 1, 32, 32) in [-1, 1] -> logits (N, 10); `features` returns the layer before: (N, FEATURES)."""

    def __init__(self) -> None:
        super().__init__()

        def block(before: int, after: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

        self.body = nn.Sequential(
            *block(1, 16), nn.MaxPool2d(2),
            *block(16, 32), *block(32, 32), nn.MaxPool2d(2),
            *block(32, 64), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 16, FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(FEATURES, 10)

    def features(self, pictures: Tensor) -> Tensor:
        out: Tensor = self.body(pictures)
        return out

    def forward(self, pictures: Tensor) -> Tensor:
        out: Tensor = self.head(nn.functional.dropout(self.features(pictures), 0.3, self.training))
        return out


def digits(root: str, train: bool) -> tuple[Tensor, Tensor]:
    """Return real digits as uint8 (N, 1, 32, 32), and their labels."""
    from torchvision.datasets import MNIST

    kept = MNIST(root, train=train)
    return torch.from_numpy(resized(kept.data.numpy(), (1, 32, 32))), kept.targets


def values(pictures: Tensor) -> Tensor:
    return pictures.float() / 127.5 - 1


def train(root: str, target: Path, epochs: int, seed: int = 0) -> None:
    """Train the classifier on all of MNIST's training digits."""
    pictures, labels = digits(root, train=True)
    an_epoch = len(pictures) // BATCH
    began = time.perf_counter()

    def told(judge: Judge, step: int) -> None:
        if step % an_epoch == 0:
            right, spent = accuracy(judge, root), time.perf_counter() - began
            print(f"epoch {step // an_epoch}: {right:.2%} of the test digits, {spent:.0f} s", flush=True)

    judge = fit([(pictures, labels)], epochs * an_epoch, seed, told)
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": judge.state_dict(), "test_accuracy": accuracy(judge, root)}, target)


def fit(
    sets: Sequence[tuple[Tensor, Tensor]],
    steps: int,
    seed: int,
    told: Callable[[Judge, int], None] = lambda judge, step: None,
) -> Judge:
    """Return a classifier trained with small random shifts, scalings and rotations, and a one-cycle learning rate.

    `sets` are images, uint8 (N, 1, 32, 32), with labels (N,); a batch has the same number of each.  `told` is called
    after every step, counted from 1.
    """
    torch.manual_seed(seed)
    judge = Judge().to(memory_format=torch.channels_last)
    adam = torch.optim.AdamW(judge.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=6e-3, total_steps=steps)
    drawn = [_shuffled(len(labels), BATCH // len(sets)) for _, labels in sets]
    for step in range(1, steps + 1):
        chosen = [next(d) for d in drawn]
        pictures = torch.cat([p[i] for (p, _), i in zip(sets, chosen, strict=True)])
        labels = torch.cat([k[i] for (_, k), i in zip(sets, chosen, strict=True)])
        loss = nn.functional.cross_entropy(judge(moved(values(pictures))), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        told(judge, step)
    return judge


def _shuffled(count: int, share: int) -> Iterator[Tensor]:
    """Yield `share` of `count` indices at a time, in a new order whenever fewer are left."""
    while True:
        order = torch.randperm(count)
        for first in range(0, count - share + 1, share):
            yield order[first : first + share]


def moved(pictures: Tensor) -> Tensor:
    """Return each image rotated by up to 10 degrees, scaled by 0.9..1.1, shifted by up to 2 pixels."""
    n = len(pictures)
    angle = (torch.rand(n) * 2 - 1) * (torch.pi / 18)
    scale = 0.9 + 0.2 * torch.rand(n)
    shift = (torch.rand(n, 2) * 2 - 1) * (2 / 16)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack((torch.stack((cos, -sin, shift[:, 0]), 1), torch.stack((sin, cos, shift[:, 1]), 1)), 1)
    grid = nn.functional.affine_grid(theta, list(pictures.shape), align_corners=False)
    return nn.functional.grid_sample(pictures + 1, grid, align_corners=False) - 1


@torch.no_grad()
def accuracy(judge: Judge, root: str) -> float:
    """Return the share of MNIST's test digits that are classified correctly."""
    pictures, labels = digits(root, train=False)
    judge.eval()
    named = torch.cat([judge(values(piece)).argmax(1) for piece in pictures.split(500)])
    judge.train()
    return float((named == labels).float().mean())


def pack(judge: Judge, root: str) -> dict[str, npt.NDArray[np.generic]]:
    """Return the file's arrays: weights with BatchNorm folded, and their results for real digits."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    layers = list(judge.body)
    for i, (conv, norm) in enumerate(pairwise(layers)):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight = (conv.weight * scale[:, None, None, None]).permute(2, 3, 1, 0).flatten(0, 2)
            name = f"conv{sum(isinstance(m, nn.Conv2d) for m in layers[:i])}"
            arrays |= _layer(name, weight, norm.bias - norm.running_mean * scale)
    dense = next(m for m in layers if isinstance(m, nn.Linear))
    by_pixel = dense.weight.reshape(FEATURES, -1, 4, 4).permute(2, 3, 1, 0).flatten(0, 2)  # channels last
    arrays |= _layer("dense", by_pixel, dense.bias)
    arrays |= _layer("head", judge.head.weight.T, judge.head.bias)
    return arrays | _of_real_digits(arrays, root)


def _layer(name: str, weight: Tensor, bias: Tensor) -> dict[str, npt.NDArray[np.generic]]:
    both = {f"{name}.weight": weight, f"{name}.bias": bias}
    return {k: v.detach().numpy().astype(np.float16) for k, v in both.items()}


def _of_real_digits(arrays: dict[str, npt.NDArray[np.generic]], root: str) -> dict[str, npt.NDArray[np.generic]]:
    def layer(name: str) -> tuple[distances.Floats, distances.Floats]:
        return arrays[f"{name}.weight"].astype(np.float32), arrays[f"{name}.bias"].astype(np.float32)

    classifier = Classifier(tuple(layer(f"conv{i}") for i in range(4)), layer("dense"), layer("head"))

    def features(train: bool, every: int = 1) -> tuple[distances.Floats, npt.NDArray[np.int64]]:
        pictures, labels = digits(root, train)
        chosen = pictures[::every].permute(0, 2, 3, 1).contiguous().numpy()
        return classifier.features(chosen), labels[::every].numpy()

    test, labels = features(train=False)
    chances = classifier.probabilities(test)
    gaussian = distances.Gaussian.of(test)
    near = test[: distances.NEIGHBORS].astype(np.float16)
    training, _ = features(train=True, every=6)
    floors = []
    for count in FLOORS:
        d = distances.distances(training[:: len(training) // count], gaussian, near.astype(np.float32))
        floors.append((count, d.frechet, d.precision, d.recall, d.coverage))
    return {
        "accuracy": np.float64((chances.argmax(1) == labels).mean()),
        "sure_share": np.float64((chances.max(1) >= SURE).mean()),
        "test.mean": gaussian.mean.astype(np.float32),
        "test.covariance": gaussian.covariance.astype(np.float32),
        "neighbours": near,
        "floors": np.array(floors, np.float64),
    }


def _write(file: Path, root: str) -> None:
    judge = Judge()
    judge.load_state_dict(torch.load(file, weights_only=True)["weights"])
    arrays = pack(judge.eval(), root)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    with atomic_file(PACKED) as temporary:
        temporary.write_bytes(packed.getbuffer())
    print(f"{PACKED.name}: {PACKED.stat().st_size:,} bytes, {float(arrays['accuracy']):.2%} of the test digits")
    print("floors (images, Frechet, precision, recall, coverage):", *arrays["floors"], sep="\n  ")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    trains = commands.add_parser("train")
    trains.add_argument("root")
    trains.add_argument("judge", type=Path)
    trains.add_argument("--epochs", type=int, default=4)
    packs = commands.add_parser("pack")
    packs.add_argument("judge", type=Path)
    packs.add_argument("root")
    given = parser.parse_args()
    if given.command == "pack":
        _write(given.judge, given.root)
    else:
        train(given.root, given.judge, given.epochs)


if __name__ == "__main__":
    main()
