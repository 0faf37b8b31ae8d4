"""Train a classifier on images that are never on disk: generated when the loop needs them, each seen once.

    python train/on_the_fly.py GENERATOR [--images 64000] [--workers 2]

GENERATOR must be conditional: a `.gan` file, ONNX, TorchScript or a checkpoint, such as exported/mnist32-conditional's.
Any number of images costs no disk, and no image occurs twice.  The classifier is tested on images of another seed.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader

import gan_export


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("generator")
    parser.add_argument("--images", type=int, default=64_000)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    torch.manual_seed(0)
    training = gan_export.dataset(asked.generator, seed=1, length=asked.images)
    test = list(DataLoader(gan_export.dataset(asked.generator, seed=2, length=2000), batch_size=500))
    if isinstance(test[0], torch.Tensor):
        sys.exit(f"{asked.generator} has no labels; name a conditional generator")
    channels, classes = test[0][0].shape[1], 1 + int(max(labels.max() for _, labels in test))
    model = nn.Sequential(
        nn.Conv2d(channels, 16, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32 * 16, classes),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    begun = time.perf_counter()
    for images, labels in DataLoader(training, batch_size=64, num_workers=asked.workers):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    spent = time.perf_counter() - begun
    model.eval()
    with torch.no_grad():
        right = sum((model(images).argmax(1) == labels).sum().item() for images, labels in test)
    print(f"{asked.images:,} images in {spent:.0f} s, {asked.images / spent:,.0f} per second")
    print(f"{right / 2000:.1%} of 2,000 images of another seed classified as their label")


if __name__ == "__main__":
    main()
