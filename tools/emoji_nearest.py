"""Show generated emoji beside the most similar ones of the font: does the generator repeat what it learned from?

    python tools/emoji_nearest.py GENERATOR -o near.png [--font FONT] [--seed 7]

Writes 64 pairs, a generated image on the left of each.  Prints the median distance (root mean square over the pixels,
in bytes) to the nearest emoji or mirror image, and that of each of the font's emoji to its nearest other one, mirror
images included: far below it, images are copies.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import gan_export
from gan_export import images
from gan_export.metrics.distances import nearest
from gan_export.training import emoji

COUNT = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("generator", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--font", default="")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    try:
        with gan_export.open(given.generator) as generator:
            labels = "all" if generator.classes else "random"
            generated = generator.sample(COUNT, seed=given.seed, labels=labels)
            known = emoji.render(given.font, generator.image)
    except gan_export.GanExportError as error:
        print(f"emoji_nearest.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    real = np.concatenate((known.images, known.mirrored())).transpose(0, 2, 3, 1)
    at, apart = nearest(generated, real)
    pairs = np.stack((generated, real[at]), 1).reshape(2 * COUNT, *real.shape[1:])
    images.write_png(given.out, images.grid(pairs, 16))
    print(f"to the nearest emoji: {np.median(apart):.1f} (lowest {apart.min():.1f})")
    print(f"from emoji to emoji: {np.median(between(real)):.1f}")
    print(f"different nearest emoji: {len(set(at % len(known.characters)))} of {COUNT}")


def between(real: np.ndarray) -> np.ndarray:
    """Return the distance of each emoji to its nearest other one; the second half of `real` are mirror images."""
    count = len(real) // 2
    flat = real.reshape(len(real), -1).astype(np.float32)
    squares = (flat**2).sum(1)
    apart = squares[:count, None] + squares - 2 * flat[:count] @ flat.T
    own = np.arange(count)
    apart[own, own] = apart[own, own + count] = np.inf
    return np.sqrt(np.maximum(apart.min(1), 0) / flat.shape[1])


if __name__ == "__main__":
    main()
