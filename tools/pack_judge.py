"""Pack a classifier that `train/experiments/judge.py` has trained into gan_export/data/digits-judge.npz.

    python tools/pack_judge.py runs/judge.pth DATA_ROOT

`gan_export.metrics.digits` reads the file, in float16; the accuracy and the floors in it are those of the rounded
weights, measured by the package's own classifier.
"""

from __future__ import annotations

import io
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gan_export._lib.fs import atomic_file
from gan_export.metrics import distances
from gan_export.metrics.digits import SURE, Classifier

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "train" / "experiments"))

from judge import FEATURES, Judge, digits  # noqa: E402

PACKED = ROOT / "gan_export" / "data" / "digits-judge.npz"
FLOORS = (1_000, 2_500, 5_000, 10_000)  # numbers of images for which floors are measured


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


def write(file: Path, root: str) -> None:
    judge = Judge()
    judge.load_state_dict(torch.load(file, weights_only=True)["weights"])
    arrays = pack(judge.eval(), root)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    with atomic_file(PACKED) as temporary:
        temporary.write_bytes(packed.getbuffer())
    print(f"{PACKED.name}: {PACKED.stat().st_size:,} bytes, {float(arrays['accuracy']):.2%} of the test digits")
    print("floors (images, Frechet, precision, recall, coverage):", *arrays["floors"], sep="\n  ")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python tools/pack_judge.py JUDGE.pth DATA_ROOT")
    write(Path(sys.argv[1]), sys.argv[2])
