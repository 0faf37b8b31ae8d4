"""A classifier trained on pictures that lie nowhere: drawn as the loop asks for them, each seen once.

    python train/on_the_fly.py GENERATOR [--pictures 64000] [--workers 2]

GENERATOR draws by label: a `.gan` file, ONNX, TorchScript or a checkpoint, such as exported/mnist32-conditional's.
Any number of pictures costs no disk, and no picture comes twice.  What is learnt is told on pictures of another seed.
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
    parser.add_argument("--pictures", type=int, default=64_000)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    torch.manual_seed(0)
    training = gan_export.dataset(asked.generator, seed=1, length=asked.pictures)
    test = list(DataLoader(gan_export.dataset(asked.generator, seed=2, length=2000), batch_size=500))
    if isinstance(test[0], torch.Tensor):
        sys.exit(f"{asked.generator} draws no labels that could be learnt; name a conditional generator")
    channels, classes = test[0][0].shape[1], 1 + int(max(labels.max() for _, labels in test))
    model = nn.Sequential(
        nn.Conv2d(channels, 16, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32 * 16, classes),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    begun = time.perf_counter()
    for pictures, labels in DataLoader(training, batch_size=64, num_workers=asked.workers):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(pictures), labels).backward()
        optimizer.step()
    spent = time.perf_counter() - begun
    model.eval()
    with torch.no_grad():
        right = sum((model(pictures).argmax(1) == labels).sum().item() for pictures, labels in test)
    print(f"{asked.pictures:,} pictures in {spent:.0f} s, {asked.pictures / spent:,.0f} a second")
    print(f"{right / 2000:.1%} of 2,000 pictures of another seed named as they were drawn")


if __name__ == "__main__":
    main()
