"""Cuts between the cells of a generator that was trained with `loss.cells`: two layers of ReLUs before its first.

    python train/experiments/latent_margin.py GENERATOR.pth OUT.pth [--cells 10] [--margin 0.18] [--keep 32]

A generator is continuous and its latent space hangs together, so between the region of one digit and that of the
next lies a strip of pictures that are neither; a tenth of what a good MNIST generator draws lies there.  Training
thins the strip slowly.  Here it is jumped: with `loss.cells` a digit's region is known, the latents whose i-th value
u_i is the largest of the first ten, and so is what leads away from its border, more of u_i.  What is put in front is

    d_ij = relu(u_j - u_i)                        0 for every j where u_i is the largest
    t_i  = relu(1 - STEEPNESS x sum over j of d_ij)       1 there, 0 further than 1 / STEEPNESS outside
    u_i + margin x t_i                            what the generator takes for u_i

as transposed convolutions of 1x1, which every runtime has; each other value passes as relu(v) and relu(-v).  To keep
the checkpoint small those pass along the `keep` directions alone that the first layer makes most of: in the others it
is near its random start (58 of 90 directions, 8 % of the variance, in the generator that ships, whose figures are the
same with all).  BatchNorm's statistics are measured anew.  Nothing is trained.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_export.errors import GanExportError, first_line
from gan_export.training import models, recipe, snapshot

STEEPNESS = 100.0


def cut(weights: dict[str, Tensor], cells: int, margin: float, keep: int) -> models.Generator:
    """A generator that draws for z what `weights` draw with `margin` added to the largest of z's first `cells`.

    weights: of a `gan_export.training.models.Generator`, unconditional.  keep: directions of the other latents; where
    that is fewer than there are, BatchNorm's statistics no longer fit.
    """
    first = weights["model.0.weight"].double()
    nz, width = first.shape[:2]
    kernels = [w for name, w in weights.items() if name.endswith(".weight") and w.dim() == 4]
    base = models.Generator(nz, tuple(w.shape[0] for w in kernels[1:]), kernels[-1].shape[1])
    base.load_state_dict(weights)
    flat = first.reshape(nz, -1)
    norm, *_ = (m for m in base.model if isinstance(m, nn.BatchNorm2d))
    assert norm.running_var is not None
    gain = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    seen = flat[cells:] * gain.repeat_interleave(flat.shape[1] // width)
    keep = min(keep, nz - cells)
    across = torch.linalg.svd(seen, full_matrices=False).U[:, :keep].T  # (keep, nz - cells), orthonormal rows

    pairs = list(itertools.permutations(range(cells), 2))
    differences = torch.zeros(len(pairs), nz, dtype=torch.double)
    for row, (i, j) in enumerate(pairs):
        differences[row, j], differences[row, i] = 1.0, -1.0
    values = torch.block_diag(torch.eye(cells, dtype=torch.double), across)  # (cells + keep, nz)
    into = torch.cat((differences, values, -values))
    steps = torch.zeros(cells, len(into), dtype=torch.double)
    for row, (i, _) in enumerate(pairs):
        steps[i, row] = -STEEPNESS
    passed = torch.eye(len(into), dtype=torch.double)[len(pairs) :]
    middle = torch.cat((steps, passed))
    kept = torch.cat((flat[:cells], across @ flat[cells:]))
    out = torch.cat((margin * flat[:cells], kept, -kept)).reshape(-1, *first.shape[1:])

    front = (_layer(into.T), nn.ReLU(), _layer(middle.T), nn.ReLU(), nn.ConvTranspose2d(len(middle), width, 4, 1, 0))
    with torch.no_grad():
        front[2].bias[:cells] = 1.0  # type: ignore[index,operator]
        front[4].weight.copy_(out)  # type: ignore[operator,union-attr]
        front[4].bias.copy_(weights["model.0.bias"])  # type: ignore[operator,union-attr]
    base.model = nn.Sequential(*front, *list(base.model)[1:])
    return base.eval()


def _layer(matrix: Tensor) -> nn.ConvTranspose2d:
    """By `matrix` (inputs, outputs) on one pixel, no bias yet."""
    layer = nn.ConvTranspose2d(*matrix.shape, 1)
    with torch.no_grad():
        layer.weight.copy_(matrix[:, :, None, None])
        assert layer.bias is not None
        layer.bias.zero_()
    return layer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("generator", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", type=int, default=10)
    parser.add_argument("--margin", type=float, default=0.18)
    parser.add_argument("--keep", type=int, default=32)
    parser.add_argument(
        "--recalibrate", type=int, default=16384, help="pictures to measure BatchNorm's statistics over"
    )
    given = parser.parse_args()
    try:
        generator = _made(given)
        snapshot.save(dict(generator.state_dict()), given.out)
    except GanExportError as e:
        print(f"cells.py: {e}", file=sys.stderr)
        raise SystemExit(e.exit_code) from None
    print(f"{given.out}: {sum(p.numel() for p in generator.parameters()):,} weights")


def _made(given: argparse.Namespace) -> models.Generator:
    try:
        weights: dict[str, Any] = torch.load(given.generator, weights_only=True)
        nz = weights["model.0.weight"].shape[0]
    except Exception as e:  # torch raises many types on files that aren't its own
        raise GanExportError(f"{given.generator} is no generator that gan-train wrote: {first_line(e)}") from None
    if not 2 <= given.cells <= nz or given.keep < 1 or given.recalibrate < 0:
        raise GanExportError(f"--cells 2 to {nz}, --keep 1 or more and --recalibrate 0 or more are possible")
    try:
        generator = cut(weights, given.cells, given.margin, given.keep)
    except (KeyError, RuntimeError, ValueError) as e:
        raise GanExportError(
            f"{given.generator} is no unconditional generator of gan-train's: {first_line(e)}"
        ) from None
    if given.recalibrate:
        snapshot.recalibrate(generator, recipe.Generator(nz=nz), given.recalibrate, torch.device("cpu"))
    return generator.eval()


if __name__ == "__main__":
    main()
