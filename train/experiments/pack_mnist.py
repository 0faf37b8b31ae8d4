"""Pack the first 10,000 digits of MNIST's training set into gan_export/data/mnist-10k.npz.

    python train/experiments/pack_mnist.py DATA_ROOT        # the folder that contains MNIST/raw

The file is a plain .npz: `images` uint8 (10000, 28, 28), `labels` uint8 (10000,).  The same input gives the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from torchvision.datasets import MNIST

COUNT = 10_000
TARGET = Path(__file__).resolve().parents[2] / "gan_export" / "data" / "mnist-10k.npz"


def main() -> None:
    digits = MNIST(sys.argv[1], train=True)
    images = digits.data[:COUNT].numpy().astype(np.uint8)
    labels = digits.targets[:COUNT].numpy().astype(np.uint8)
    np.savez_compressed(TARGET, images=images, labels=labels)
    print(f"{TARGET.name}: {len(images)} digits, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
