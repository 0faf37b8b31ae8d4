"""Compute latents from a seed: a function of (seed, image index, coordinate) and of nothing else.

docs/latent-rng.md defines it to the bit; engine/tests/kat_vectors has its known answers, which the tests of every
language read.  Philox4x32-10 is from Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
(2011); the normal table's rational approximations are Wichura's AS 241 (1988).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_export.errors import GanExportError

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
LAW = "philox4x32-10/normal-table-16/1"  # the name of this law in manifests; a change of any bit changes the name
TABLE_SHA256 = (
    "1cfbba1e07e34386a57626f82aeb43e6ed54ba70a3ea6b7d964dc66a841074a8"  # of the normal table as little-endian float32
)

STREAM_LATENTS = 0
STREAM_LABELS = 1
STREAM_FURTHER = range(2, 8)  # second and further latents and labels of one generator
STREAM_PROBES = range(8, 16)  # images and other arrays that an export is verified with
STREAM_NOISE = range(16, 4096)  # the k-th noise input
STREAM_DROPOUT = range(4096, 8192)  # the k-th dropout

_ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_PIECE = 1 << 15  # Philox blocks computed at once: bounds the scratch memory, and fits a cache


def draw(seed: int, start: int, count: int, nz: int, prior: str = "normal", *, out: Floats | None = None) -> Floats:
    """Return the latents of the images start .. start+count-1, float32 (count, nz).

    seed and start are 0 .. 2^64-1.  prior is "normal", N(0, 1), or "uniform", U(-1, 1).  If `out` is given, it is
    filled and returned.  Row i depends only on (seed, start + i).
    """
    check(seed, start, count)
    result = np.empty((count, max(nz, 0)), np.float32) if out is None else out
    if result.shape != (count, nz) or result.dtype != np.float32:
        raise GanExportError(f"out is {result.dtype} {result.shape}, must be float32 {(count, nz)}")
    _fill(result, seed, np.uint64(start) + np.arange(count, dtype=np.uint64), prior)
    return result


def draw_at(seed: int, indices: npt.NDArray[np.uint64], nz: int, prior: str = "normal") -> Floats:
    """Return the latents of images in any order, float32 (N, nz): those of `draw` for each of `indices` (N,)."""
    check(seed, 0, 0)
    result = np.empty((len(indices), max(nz, 0)), np.float32)
    _fill(result, seed, indices, prior)
    return result


def draw_table(
    seed: int, indices: npt.NDArray[np.uint64], size: int, table: npt.NDArray[Any], stream: int
) -> npt.NDArray[Any]:
    """Return `table[u]` for each coordinate's u, for images in any order, (N, size) of the table's type.

    table: (65536,), the value of each 16-bit number.  stream: the number of the image's stream.
    """
    check(seed, 0, 0)
    result = np.empty((len(indices), max(size, 0)), table.dtype)
    _look_up(result, seed, indices, table, stream)
    return result


def dropout_keeps(
    seed: int, indices: npt.NDArray[np.uint64], size: int, rate: float, layer: int = 0
) -> npt.NDArray[np.bool_]:
    """Return which values dropout number `layer` keeps, bool (N, size): those whose u is at least round(rate × 65536).

    rate is the share that is dropped, at least 0 and below 1; halves are rounded to even.
    """
    if not 0.0 <= rate < 1.0:
        raise GanExportError(f"dropout rate {rate}: must be at least 0 and below 1")
    if not 0 <= layer < len(STREAM_DROPOUT):
        raise GanExportError(f"dropout {layer}: must be 0 to {len(STREAM_DROPOUT) - 1}")
    keeps = np.arange(65536) >= round(rate * 65536)
    return draw_table(seed, indices, size, keeps, STREAM_DROPOUT[layer])


def _fill(result: Floats, seed: int, indices: npt.NDArray[np.uint64], prior: str) -> None:
    if result.shape[1] < 1:
        raise GanExportError(f"latent size {result.shape[1]}: must be at least 1")
    _look_up(result, seed, indices, _table(prior), STREAM_LATENTS)


def _look_up(
    result: npt.NDArray[Any], seed: int, indices: npt.NDArray[np.uint64], table: npt.NDArray[Any], stream: int
) -> None:
    count, size = result.shape
    blocks = -(-size // 8)
    rows = max(1, _PIECE // max(blocks, 1))
    for first in range(0, count, rows):
        n = min(rows, count - first)
        words = _words(seed, indices[first : first + n], blocks, stream)  # (n, blocks, 4)
        halves = np.empty((n, blocks, 4, 2), np.intp)
        halves[..., 0] = words & np.uint32(0xFFFF)
        halves[..., 1] = words >> np.uint32(16)
        result[first : first + n] = table[halves.reshape(n, blocks * 8)[:, :size]]


def labels(seed: int, start: int, count: int, classes: int) -> npt.NDArray[np.int64]:
    """Return random labels of the images start .. start+count-1: int64 (count,) in 0 .. classes-1."""
    check(seed, start, count)
    return labels_at(seed, np.uint64(start) + np.arange(count, dtype=np.uint64), classes)


def labels_at(seed: int, indices: npt.NDArray[np.uint64], classes: int) -> npt.NDArray[np.int64]:
    """Return random labels of images in any order: those of `labels` for each of `indices` (N,)."""
    if not 1 <= classes <= 1 << 31:
        raise GanExportError(f"classes {classes}: must be 1 to 2^31")
    words = _words(seed, indices, 1, STREAM_LABELS)[:, 0, 0]
    return ((words.astype(np.uint64) * np.uint64(classes)) >> np.uint64(32)).astype(np.int64)


def labels_in_turn(indices: npt.NDArray[np.uint64], classes: int) -> npt.NDArray[np.int64]:
    """Return the label i mod `classes` of each image i of `indices` (N,): int64 (N,)."""
    return (indices % np.uint64(classes)).astype(np.int64)


def draw_torch(
    seed: int, start: int, count: int, nz: int, prior: str = "normal", *, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return the same bits as `draw`, computed by PyTorch on `device` (CPU or CUDA): float32 (count, nz)."""
    import torch

    check(seed, start, count)
    blocks = -(-nz // 8)
    index = torch.arange(count, dtype=torch.int64, device=device) + _signed(start)
    shape = (count, blocks)
    block = torch.arange(blocks, dtype=torch.int64, device=device)
    counter = [
        block.expand(shape),
        torch.full(shape, STREAM_LATENTS, dtype=torch.int64, device=device),
        (index & _MASK)[:, None].expand(shape),
        ((index >> 32) & _MASK)[:, None].expand(shape),
    ]
    # a 32 x 32-bit product wraps in int64 to the same bits; the arithmetic shift is masked
    key = [seed & _MASK, seed >> 32]
    for _ in range(_ROUNDS):
        p0, p1 = counter[0] * MULTIPLIERS[0], counter[2] * MULTIPLIERS[1]
        counter = [
            ((p1 >> 32) & _MASK) ^ counter[1] ^ key[0],
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ counter[3] ^ key[1],
            p0 & _MASK,
        ]
        key = [(k + w) & _MASK for k, w in zip(key, WEYL, strict=True)]
    words = torch.stack(counter, dim=-1)  # (count, blocks, 4)
    halves = torch.stack((words & 0xFFFF, words >> 16), dim=-1).reshape(count, blocks * 8)[:, :nz]
    return torch.from_numpy(_table(prior).copy()).to(device)[halves]


def check(seed: int, start: int, count: int) -> None:
    """Raise GanExportError for a seed, start or count out of range."""
    if not 0 <= seed < 1 << 64:
        raise GanExportError(f"seed={seed}: must be 0 to 2^64-1")
    if count < 0:
        raise GanExportError(f"count {count}: must not be negative")
    if not 0 <= start < 1 << 64 or start + count > 1 << 64:
        raise GanExportError(f"{count} images from {start} on: indices are 0 to 2^64-1")


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return one Philox4x32-10 block, computed with Python integers: the reference for the fast versions."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _MASK, (p0 >> 32) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + WEYL[0]) & _MASK, (k1 + WEYL[1]) & _MASK
    return c0, c1, c2, c3


@functools.cache
def normal_table() -> Floats:
    """Return T[u] = float32 of the inverse normal distribution function at (u + 0.5) / 65536, float32 (65536,).

    Uses only + - × ÷ and square root of doubles, so that every language computes the same bits.
    Odd: T[65535 - u] = -T[u].
    """
    p = (np.arange(32768, dtype=np.float64) + 0.5) / 65536.0  # the lower half's probabilities, exact
    q = 0.5 - p
    middle = q <= 0.425
    x = np.empty_like(p)
    r = 0.180625 - q[middle] * q[middle]
    x[middle] = q[middle] * _rational(r, _MIDDLE)
    tail = np.sqrt(_minus_log(p[~middle])) - 1.6
    x[~middle] = _rational(tail, _TAIL)
    low = -x.astype(np.float32)
    table = np.concatenate((low, -low[::-1]))
    table.flags.writeable = False
    return table


@functools.cache
def uniform_table(low: float = -1.0, high: float = 1.0) -> Floats:
    """Return float32 of (u + 0.5) / 65536 × (high - low) + low for u = 0 .. 65535, float32 (65536,).

    Each operation uses doubles and is rounded separately.  On (-1, 1) every value is exact.
    """
    unit = (np.arange(65536, dtype=np.float64) + 0.5) / 65536.0
    table = (unit * (high - low) + low).astype(np.float32)
    table.flags.writeable = False
    return table


@functools.cache
def truncated_normal_table(bound: float) -> Floats:
    """Return the normal distribution truncated at ±bound, float32 (65536,): T[first + floor(u × m / 65536)].

    T[first .. first+m-1] are the entries of `normal_table` with absolute value at most `bound`.  The choice uses only
    integers, so every language makes the same; the probability of a value is off by at most 1 in 65,536.
    """
    normal = normal_table()
    inside = np.flatnonzero(np.abs(normal) <= np.float32(bound))
    if not len(inside):
        raise GanExportError(f"a normal distribution truncated at {bound}: the bound must be above 0")
    table: Floats = normal[inside[0] + ((np.arange(65536) * len(inside)) >> 16)]
    table.flags.writeable = False
    return table


def _table(prior: str) -> Floats:
    match prior:
        case "normal":
            return normal_table()
        case "uniform":
            return uniform_table()
    raise GanExportError(f"prior={prior!r}: must be normal or uniform")


def _words(seed: int, index: npt.NDArray[np.uint64], blocks: int, stream: int) -> npt.NDArray[np.uint32]:
    """Return the Philox words of `blocks` blocks of the images `index` (count,): uint32 (count, blocks, 4)."""
    shape = (len(index), blocks)
    mask = np.uint64(_MASK)
    shift = np.uint64(32)
    c0: Any = np.broadcast_to(np.arange(blocks, dtype=np.uint64), shape)
    c1: Any = np.full(shape, stream, np.uint64)
    c2: Any = np.broadcast_to((index & mask)[:, None], shape)
    c3: Any = np.broadcast_to((index >> shift)[:, None], shape)
    k0, k1 = seed & _MASK, seed >> 32
    for _ in range(_ROUNDS):
        p0 = c0 * np.uint64(MULTIPLIERS[0])
        p1 = c2 * np.uint64(MULTIPLIERS[1])
        c0 = (p1 >> shift) ^ c1 ^ np.uint64(k0)
        c2 = (p0 >> shift) ^ c3 ^ np.uint64(k1)
        c1 = p1 & mask
        c3 = p0 & mask
        k0, k1 = (k0 + WEYL[0]) & _MASK, (k1 + WEYL[1]) & _MASK
    return np.stack((c0, c1, c2, c3), axis=-1).astype(np.uint32)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


# AS 241's PPND16, its two ranges that reach 0.5 / 65536: numerator and denominator, highest power first
_MIDDLE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
_LN2 = 0.6931471805599453


def _rational(x: Any, pair: tuple[tuple[float, ...], tuple[float, ...]]) -> Any:
    return _horner(x, pair[0]) / _horner(x, pair[1])


def _horner(x: Any, coefficients: tuple[float, ...]) -> Any:
    value = x * 0.0 + coefficients[0]
    for c in coefficients[1:]:
        value = value * x + c
    return value


def _minus_log(p: Any) -> Any:
    """Return -log(p) for doubles in (0, 1): p = m / 2^k with m in [1, 2), log m = 2 artanh((m - 1) / (m + 1))."""
    m = p.copy()
    k = np.zeros_like(p)
    while (small := m < 1.0).any():
        m[small] *= 2.0
        k[small] += 1.0
    s = (m - 1.0) / (m + 1.0)  # at most 1/3
    series = _horner(s * s, tuple(1.0 / n for n in range(35, 0, -2)))  # (1/9)^18 / 37 is under 2^-60
    return k * _LN2 - 2.0 * s * series
