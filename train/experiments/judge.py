"""Train a small classifier of digits, which evaluates a generator's images.

    python train/experiments/judge.py DATA_ROOT runs/judge.pth        # minutes on 2 cores; prints its accuracy

It is never used to train a generator; `tools/pack_judge.py` packs it for `gan-sample evaluate`.  Images are 32x32 in
[-1, 1], as the generators return them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

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
    pixels = nn.functional.interpolate(kept.data[:, None], size=(32, 32), mode="bilinear", antialias=True)
    return pixels, kept.targets


def values(pictures: Tensor) -> Tensor:
    return pictures.float() / 127.5 - 1


def train(root: str, target: Path, epochs: int, seed: int = 0) -> None:
    """Train the classifier on all of MNIST's training digits."""
    pictures, labels = digits(root, train=True)
    an_epoch = len(pictures) // BATCH
    began = time.perf_counter()

    def observe(judge: Judge, step: int) -> None:
        if step % an_epoch == 0:
            right, spent = accuracy(judge, root), time.perf_counter() - began
            print(f"epoch {step // an_epoch}: {right:.2%} of the test digits, {spent:.0f} s", flush=True)

    judge = fit([(pictures, labels)], epochs * an_epoch, seed, observe)
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": judge.state_dict(), "test_accuracy": accuracy(judge, root)}, target)


def fit(
    sets: Sequence[tuple[Tensor, Tensor]],
    steps: int,
    seed: int,
    observe: Callable[[Judge, int], None] = lambda judge, step: None,
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
        observe(judge, step)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root")
    parser.add_argument("judge", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    train(given.root, given.judge, given.epochs)


if __name__ == "__main__":
    main()
