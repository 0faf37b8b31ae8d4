"""The preview images of a run: the same latents every time, so that they can be compared.

There are three files per epoch: ten images as 2x5, 64 as 8x8, and generated images next to real ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from gan_export import images, latents, volumes
from gan_export.training import run_dir
from gan_export.training.data import DataSource
from gan_export.training.models import Generator
from gan_export.training.recipe import Generator as Settings
from gan_export.training.snapshot import State, eval_generator, labels

Bytes = npt.NDArray[np.uint8]
SEED = 0  # of the previews' latents, independent of the run's seed
_ROWS = 8  # generated next to real: 8 rows of 4 and 4


def preview_grids(now: State, source: DataSource) -> dict[str, Bytes]:
    """Return the previews of the current generator by name: each uint8 (H, W, C)."""
    pictures = draw(eval_generator(now), now.recipe.generator, SEED, 64, now.device)
    real = _real(source, 4 * _ROWS)
    rows = [np.concatenate((pictures[4 * i : 4 * i + 4], real[4 * i : 4 * i + 4])) for i in range(_ROWS)]
    return {
        "2x5": images.grid(pictures[:10], 5),
        "beside-real": images.grid(np.concatenate(rows), 8),
        "grid": images.grid(pictures, 8),
    }


@torch.no_grad()
def draw(
    generator: Generator, settings: Settings, seed: int, count: int, device: torch.device, *, start: int = 0
) -> Bytes:
    """Return images of an eval-mode generator, start .. of `seed` with labels i mod classes, uint8 (count, H, W, C).

    Of volumes, the images show the surface.
    """
    z = latents.draw_torch(seed, start, count, settings.nz, device=device).reshape(count, settings.nz, 1, 1)
    made = generator(z, labels(settings, start, count, device)).float().contiguous().cpu().numpy()
    return volumes.surfaces(made, (0.0, 1.0)) if made.ndim == 5 else images.to_bytes(made)


def write(sheets: dict[str, Bytes], run: Path, epoch: int) -> list[Path]:
    """Write previews/EPOCH_NAME.png for each grid; return the paths in order."""
    paths = [run_dir.preview(run, epoch, name) for name in sheets]
    paths[0].parent.mkdir(exist_ok=True)
    for path, sheet in zip(paths, sheets.values(), strict=True):
        images.write_png(path, sheet)
    return paths


def _real(source: DataSource, count: int) -> Bytes:
    """Return `count` images spread over the source (repeated if it has fewer): uint8 (count, H, W, C)."""
    spread = np.linspace(0, len(source) - 1, count).astype(np.int64)
    real = source.read(spread)
    if real.ndim == 5:
        return volumes.surfaces(real.astype(np.float32), (0.0, 255.0))
    return np.ascontiguousarray(real.transpose(0, 2, 3, 1))
