"""The ranges of a convolution's inputs, which 16-bit arithmetic needs (docs/gan-file-format.md, "Ranges").

They are the largest absolute values on images of the latent law (and of noise, if the generator takes images), at the
points of each transform that the C engine has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_export.graph.layers import Conv, ConvTranspose, Upsample
from gan_export.graph.spec import GeneratorSpec
from gan_export.graph.statistics import SEED

if TYPE_CHECKING:
    import torch

    from gan_export.graph.torch_module import Weights
    from gan_export.graph.walk import Walk

Array = npt.NDArray[Any]
Matrix = npt.NDArray[np.float64]

LEAST_IMAGES, MOST_IMAGES = 16, 1024  # that are measured: as many as _WORK is enough for
_WORK = 1e11  # operations, about 3 s of one core
_PIECE = 8  # images at once: the fewest that a walk runs every layer on
MARGIN = 1.5  # beyond the largest value seen, since other images have larger ones: half a bit
_LEAST_CHANNELS = 8  # of inputs and outputs: with fewer, transforms in float32 are as fast
_LEAST_DIRECT = 16  # numbers under the kernel, without a transform
_POINTS: Mapping[int, tuple[float, ...]] = {3: (0.0, -1.0), 5: (0.0, 1.0, -0.5, -2.0)}  # without infinity
_VALUES = 1 << 22  # transformed at once


def measure(spec: GeneratorSpec, weights: Weights) -> dict[str, dict[str, tuple[float, ...]]]:
    """Return the ranges of each convolution that can be computed in 16 bits: layer -> attribute -> numbers.

    Layers before the first image have none; those with few channels, or behind an image on one pixel, at most "direct".
    """
    from gan_export.graph.walk import Walk

    walk = Walk(spec, weights, training=False)
    work = walk.work
    count = int(min(max(_WORK / work, LEAST_IMAGES), MOST_IMAGES))
    piece = _PIECE if math.isfinite(work) else 1
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    for number, start in enumerate(range(0, count, piece)):
        feeds = spec.signature.feeds(SEED, range(start, start + piece))
        if number % 2:
            feeds = _noisy(spec, feeds, start)
        for name, ranges in _of_images(walk, feeds, piece):
            before = found.setdefault(name, ranges)
            found[name] = {key: tuple(map(max, before[key], ranges[key])) for key in ranges}
    return {
        name: {key: _rounded(key, numbers) for key, numbers in ranges.items()}
        for name, ranges in found.items()
        if ranges
    }


def _noisy(spec: GeneratorSpec, feeds: dict[str, Array], seed: int) -> dict[str, Array]:
    """Return the feeds with noise as the input image: probes are smooth, and other images give larger values.

    Each value is an end of the image's range, in blocks of 1, 2 or 4 pixels, so that no image has harder edges.
    """
    noisy = dict(feeds)
    for port in spec.signature.inputs_of("image"):
        shape = feeds[port.name].shape
        low, high = port.range or (-1.0, 1.0)
        block = (1, 2, 4)[seed // 2 % 3]
        drawn = np.random.Generator(np.random.Philox(seed)).random((*shape[:2], *(-(-n // block) for n in shape[2:])))
        wide = drawn.repeat(block, 2).repeat(block, 3)[:, :, : shape[2], : shape[3]]
        noisy[port.name] = np.where(wide < 0.5, low, high).astype(feeds[port.name].dtype)
    return noisy


def _of_images(
    walk: Walk, feeds: Mapping[str, Array], count: int
) -> Iterator[tuple[str, dict[str, tuple[float, ...]]]]:
    """Yield the ranges of each such layer on some images."""
    import torch

    from gan_export.graph.walk import Place

    spec = walk.spec
    place = Place({name: torch.from_numpy(array) for name, array in feeds.items()}, count)
    upsampled = set()
    for at, layer in enumerate(spec.layers):
        place = walk.run(place, at)
        x = place.values[layer.inputs[0]]
        if x.dim() != 4 or (min(x.shape[2:]) < 2 and not spec.signature.inputs_of("image")):
            continue
        if isinstance(layer, Upsample) and layer.mode == "nearest":
            for reader in spec.layers:  # the engine computes both at once, from the smaller image
                if layer.name in reader.inputs and isinstance(reader, Conv):
                    upsampled.add(reader.name)
                    yield reader.name, {**_direct(reader, x), **dict(_toom(x, 2) if _is_wide(reader, x) else ())}
        elif isinstance(layer, Conv | ConvTranspose) and layer.name not in upsampled:
            yield layer.name, {**_direct(layer, x), **dict(_of_transforms(layer, x) if _is_wide(layer, x) else ())}


def _is_wide(layer: Conv | ConvTranspose, x: torch.Tensor) -> bool:
    """Return whether a transform can pay: for many channels and more than one pixel."""
    return min(layer.in_channels, layer.out_channels) >= _LEAST_CHANNELS and min(x.shape[2:]) > 1


def _of_transforms(layer: Conv | ConvTranspose, x: torch.Tensor) -> Iterator[tuple[str, tuple[float, ...]]]:
    if isinstance(layer, ConvTranspose):
        yield from _toom(x, -(-layer.kernel // layer.stride))
    elif layer.stride == 1:
        yield from _toom(x, layer.kernel)
        if layer.kernel == 3:
            yield "winograd", _winograd(x, layer.padding)
    elif layer.stride == 2 and layer.kernel in (3, 4):
        yield "winograd", _halved(x, layer.padding)


def _direct(layer: Conv | ConvTranspose, x: torch.Tensor) -> dict[str, tuple[float, ...]]:
    numbers = layer.in_channels * (layer.kernel**2 if isinstance(layer, Conv) else 1)
    return {"direct": (float(x.abs().amax()),)} if numbers >= _LEAST_DIRECT else {}


def _toom(x: torch.Tensor, taps: int) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Yield the ranges of Toom-Cook's transforms for this many kernel elements per output: the tile's side, values."""
    from torch.nn.functional import pad

    for points, at in _POINTS.items():
        side = points + 1 - taps
        if taps < 2 or side < 2:
            continue
        rows = [[p**i for i in range(side)] for p in at] + [[0.0] * (side - 1) + [1.0]]
        h, w = x.shape[2:]
        tiles = pad(x, (0, -w % side, 0, -h % side)).unfold(2, side, side).unfold(3, side, side)
        yield f"toom{points}", (float(side), *_maxima(tiles, np.array(rows)))


def _winograd(x: torch.Tensor, padding: int) -> tuple[float, ...]:
    """Return the ranges of F(4 x 4, 3 x 3), whose tiles of 6 x 6 overlap."""
    from torch.nn.functional import pad

    half, two = math.sqrt(0.5), math.sqrt(2.0)
    rows = np.array(
        [
            [1.0, 0.0, -2.5, 0.0, 1.0, 0.0],
            [0.0, -2.0 * half, -2.0, half, 1.0, 0.0],
            [0.0, 2.0 * half, -2.0, -half, 1.0, 0.0],
            [0.0, -0.5 * two, -0.5, two, 1.0, 0.0],
            [0.0, 0.5 * two, -0.5, -two, 1.0, 0.0],
            [0.0, 1.0, 0.0, -2.5, 0.0, 1.0],
        ]
    )
    h, w = x.shape[2:]
    ends = [4 * -(-(n + 2 * padding - 2) // 4) + 2 - n - padding for n in (w, h)]
    tiles = pad(x, (padding, max(ends[0], 0), padding, max(ends[1], 0))).unfold(2, 6, 4).unfold(3, 6, 4)
    return _maxima(tiles, rows)


def _halved(x: torch.Tensor, padding: int) -> tuple[float, ...]:
    """Return the ranges of F(4 x 4, 2 x 2), which a convolution of stride 2 has for even and odd rows and columns.

    The tiles of 5 x 5 such pixels overlap.
    """
    from torch.nn.functional import pad

    rows = np.array(
        [
            [-1.125, -2.25, 0.5, 1.0, 0.0],
            [1.125, -2.25, -0.5, 1.0, 0.0],
            [-0.375, -0.25, 1.5, 1.0, 0.0],
            [0.375, -0.25, -1.5, 1.0, 0.0],
            [0.5625, 0.0, -2.5, 0.0, 1.0],
        ]
    )
    h, w = x.shape[2:]
    ends = [8 * -(-(n + 2 * padding) // 8) + 2 - n - padding for n in (w, h)]
    whole = pad(x, (padding, ends[0], padding, ends[1]))
    parts = [whole[:, :, i::2, j::2].unfold(2, 5, 4).unfold(3, 5, 4) for i in (0, 1) for j in (0, 1)]
    most = np.max([_maxima(part, rows) for part in parts], axis=0)
    return tuple(float(number) for number in most)


def _maxima(tiles: torch.Tensor, rows: Matrix) -> tuple[float, ...]:
    """Return the largest size of rows x tile x rows' at each place, over tiles (N, C, y, x, side, side)."""
    import torch

    matrix = torch.from_numpy(rows.astype(np.float32))
    most = torch.zeros(len(rows), len(rows))
    step = max(1, _VALUES // (tiles[0].numel() * 3))
    for part in torch.split(tiles, step):
        values = torch.einsum("pi,ncyxij,qj->pqncyx", matrix, part, matrix)
        most = torch.maximum(most, values.abs().flatten(2).amax(2))
    return tuple(most.flatten().tolist())


def _rounded(key: str, numbers: tuple[float, ...]) -> tuple[float, ...]:
    """Return the numbers with MARGIN, rounded up to 7 bits: another processor's rounding rarely gives others."""
    kept = 1 if key.startswith("toom") else 0  # the side of a tile

    def up(value: float) -> float:
        mantissa, exponent = math.frexp(MARGIN * value)
        return math.ldexp(math.ceil(mantissa * 128.0), exponent - 7)

    return (*numbers[:kept], *map(up, numbers[kept:]))
