"""Add a margin between the cells of a generator trained with `loss.cells`: two ReLU layers before its first layer.

    python train/experiments/latent_margin.py GENERATOR.pth OUT.pth [--cells 10] [--margin 0.18] [--keep 32]

Latents near a class boundary give ambiguous digits, because a generator is continuous and its latent space connected: a
tenth of the images of a good MNIST generator are neither of two digits, and longer training changes this only slowly.
With `loss.cells`, a digit's region is known: the latents whose i-th value u_i is the largest of the first ten.  More of
u_i leads away from its border.  The new layers compute

    d_ij = relu(u_j - u_i)                        0 for every j if u_i is the largest
    t_i  = relu(1 - STEEPNESS x sum over j of d_ij)       1 there, 0 further than 1 / STEEPNESS outside
    u_i + margin x t_i                            the generator's input instead of u_i

as transposed convolutions of 1x1, which every runtime has; each other value passes as relu(v) and relu(-v).  To keep
the checkpoint small, only the `keep` directions of those pass that have the largest effect in the first layer: in the
others it is near its random start (58 of 90 directions, 8 % of the variance, in exported/mnist32, whose figures are the
same with all directions).  BatchNorm's statistics are measured again.  Nothing is trained.
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_export import GanExportError, Normal, Port, Signature

STEEPNESS = 100.0
CALIBRATION = 1 << 40  # image index at which the latents of BatchNorm's statistics start, as in gan-train


class Generator(nn.Module):
    """The unconditional generator of gan-train: z (N, nz, 1, 1) -> images (N, C, S, S) in [-1, 1]."""

    def __init__(self, nz: int, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ConvTranspose2d(nz, widths[0], 4, 1, 0)]
        for before, after in zip(widths, (*widths[1:], channels), strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1)]
        self.model = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.model(z)
        return out


def cut(weights: dict[str, Tensor], cells: int, margin: float, keep: int) -> Generator:
    """Return a generator that computes for z what `weights` compute with `margin` added to the largest of z's `cells`.

    weights: of an unconditional generator of gan-train.  keep: directions of the other latents; if
    these are fewer than all, BatchNorm's statistics no longer fit.
    """
    first = weights["model.0.weight"].double()
    nz, width = first.shape[:2]
    kernels = [w for name, w in weights.items() if name.endswith(".weight") and w.dim() == 4]
    base = Generator(nz, tuple(w.shape[0] for w in kernels[1:]), kernels[-1].shape[1])
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
    """Return a layer that multiplies one pixel by `matrix` (inputs, outputs), without a bias yet."""
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
        "--recalibrate", type=int, default=16384, help="images from which BatchNorm's statistics are measured"
    )
    given = parser.parse_args()
    try:
        generator = _made(given)
        packed = io.BytesIO()  # the same weights give the same bytes under any name
        torch.save(dict(generator.state_dict()), packed)
        given.out.write_bytes(packed.getbuffer())
    except (GanExportError, OSError) as e:
        print(f"latent_margin.py: {e}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"{given.out}: {sum(p.numel() for p in generator.parameters()):,} weights")


@torch.no_grad()
def recalibrate(generator: Generator, nz: int, count: int) -> None:
    """Set every BatchNorm's running statistics to the mean over `count` images, in batches of 256."""
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # a plain mean over the batches
    image = Port("image", "image", (1, 32, 32), range=(-1.0, 1.0))
    latent = Signature((Port("z", "latent", (nz,), prior=Normal()),), (image,))
    generator.train()
    for first in range(CALIBRATION, CALIBRATION + count, 256):
        z = torch.from_numpy(latent.feeds(0, range(first, first + 256))["z"])
        generator(z.reshape(256, nz, 1, 1))
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _made(given: argparse.Namespace) -> Generator:
    try:
        weights: dict[str, Any] = torch.load(given.generator, weights_only=True)
        nz = weights["model.0.weight"].shape[0]
    except Exception as e:  # torch raises errors of many types for other files
        raise GanExportError(f"{given.generator} is not a generator of gan-train: {_first_line(e)}") from None
    if not 2 <= given.cells <= nz or given.keep < 1 or given.recalibrate < 0:
        raise GanExportError(f"--cells must be 2 to {nz}, --keep at least 1, --recalibrate at least 0")
    try:
        generator = cut(weights, given.cells, given.margin, given.keep)
    except (KeyError, RuntimeError, ValueError) as e:
        raise GanExportError(
            f"{given.generator} is not an unconditional generator of gan-train: {_first_line(e)}"
        ) from None
    if given.recalibrate:
        recalibrate(generator, nz, given.recalibrate)
    return generator.eval()


if __name__ == "__main__":
    main()
