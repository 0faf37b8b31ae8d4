"""Statistics of timings: medians, percentiles, intervals, and the end of a warm-up.  No clock is read here.

A block is the calls of one worker in one turn.  Calls in a block are correlated, so the independent samples of an
interval are blocks, not calls.  Blocks of one process share its memory layout, so with PROCESSES processes or more, the
samples are processes (`independent_samples`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PROCESSES = 3
ORDERED = 6  # smallest number of samples of which two enclose the median with 95 % probability
WARM = 0.03  # a warm-up is over when two blocks in a row differ by less

# Two-sided 95 % points of Student's t by degrees of freedom; from 30 on the formula below is within 0.2 %.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045,
)  # fmt: skip
_Z95 = 1.959964

Blocks = Sequence[Sequence[int]]  # nanoseconds per call


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval around a value."""

    low: float
    value: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval relative to the value."""
        return (self.high - self.low) / 2 / self.value if self.value else math.inf


def independent_samples(blocks: Blocks, process: Sequence[int]) -> list[list[int]]:
    """Return the independent samples: the blocks, or with enough processes, the block medians of each process."""
    kept = [(number, block) for number, block in zip(process, blocks, strict=True) if len(block)]
    numbers = sorted({number for number, _ in kept})
    if len(numbers) < PROCESSES:
        return [list(block) for _, block in kept]
    return [[int(np.median(block)) for number, block in kept if number == own] for own in numbers]


def pairs(mine: Blocks, my: Sequence[int], others: Blocks, their: Sequence[int]) -> tuple[list[list[int]], ...]:
    """Return paired samples of two backends: the blocks of one round of one process, if both have it.

    my, their: the process of each block.  With enough common processes, the samples are the block medians of each.
    """
    first, second = _by_round(mine, my), _by_round(others, their)
    common = [key for key in first if key in second]
    numbers = [number for number, _ in common]
    return tuple(independent_samples([side[key] for key in common], numbers) for side in (first, second))


def median_seconds(blocks: Blocks) -> Interval:
    """Return seconds per call: the median of the block medians with its 95 % confidence interval.

    With ORDERED or more blocks, it is the distribution-free (binomial) interval between two order statistics
    (`median_ci_rank`).  With fewer, even the fastest and the slowest don't enclose the median often enough, so it is
    Student's t on the logarithms around the median, whose standard error is at most sqrt(pi / 2) times the mean's.  One
    block gives no bound.
    """
    medians = np.sort(np.array([np.median(b) for b in blocks if len(b)], np.float64) * 1e-9)
    count = len(medians)
    if not count:
        raise ValueError("no samples")
    value = float(np.median(medians))
    if count == 1:
        return Interval(0.0, value, math.inf)
    if count >= ORDERED:
        rank = median_ci_rank(count)
        return Interval(float(medians[rank - 1]), value, float(medians[count - rank]))
    spread = float(np.log(medians).std(ddof=1))
    reach = math.exp(student_t(count - 1) * math.sqrt(math.pi / 2 / count) * spread)
    return Interval(value / reach, value, value * reach)


@functools.cache
def median_ci_rank(count: int) -> int:
    """Return the largest k for which the k-th smallest and k-th largest of `count` samples enclose the true median.

    With at least 95 % probability, for every continuous distribution: each sample is below the median with
    probability 1/2.
    """
    below = 0.0
    for k in range(count):
        coins = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        below += math.exp(coins - count * math.log(2))
        if 2 * below > 0.05:
            return max(k, 1)
    return 1


def percentiles_seconds(blocks: Blocks, points: Sequence[float] = (50, 90, 99)) -> tuple[float, ...]:
    """Return percentiles of all calls together, in seconds."""
    calls = np.concatenate([np.asarray(b, np.float64) for b in blocks]) * 1e-9
    return tuple(float(v) for v in np.percentile(calls, points))


def ratio(before: Blocks, after: Blocks) -> Interval:
    """Return the speed of `after` relative to `before` (above 1: faster), with Welch's 95 % interval.

    Uses the logarithms of the block medians, in which ratios are symmetric.  Needs two blocks on each side.
    """
    a, b = _logs(before), _logs(after)
    if len(a) < 2 or len(b) < 2:
        raise ValueError("two blocks on each side are needed")
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    gap = float(a.mean() - b.mean())
    spread = va + vb
    if spread == 0:
        return Interval(math.exp(gap), math.exp(gap), math.exp(gap))
    freedom = spread**2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    reach = student_t(freedom) * math.sqrt(spread)
    return Interval(math.exp(gap - reach), math.exp(gap), math.exp(gap + reach))


def paired_ratio(before: Blocks, after: Blocks) -> Interval:
    """Return `ratio` for blocks that took turns: blocks i of both shared a round (`pairs`), so disturbances cancel."""
    a, b = _logs(before), _logs(after)
    n = min(len(a), len(b))
    if n < 2:
        raise ValueError("two rounds are needed")
    gaps = a[:n] - b[:n]
    reach = student_t(n - 1) * float(gaps.std(ddof=1)) / math.sqrt(n)
    middle = float(gaps.mean())
    return Interval(math.exp(middle - reach), math.exp(middle), math.exp(middle + reach))


def student_t(freedom: float) -> float:
    """Return the two-sided 95 % point of Student's t; between whole degrees of freedom, the larger value."""
    whole = max(1, int(freedom))
    if whole <= len(_T95):
        return _T95[whole - 1]
    z = _Z95
    return z + (z**3 + z) / (4 * whole) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * whole**2)


def is_warm(medians: Sequence[float]) -> bool:
    """Return whether the last three block medians are stable: each is at most WARM below the one before.

    Three, so that one fast block doesn't end a warm-up.
    """
    if len(medians) < 3:
        return False
    a, b, c = medians[-3:]
    return b > a * (1 - WARM) and c > b * (1 - WARM)


def settle_calls(seconds: float) -> int:
    """Return the number of uncounted calls at the start of a block, about 20 ms, which fill the caches."""
    return 0 if seconds > 0.2 else max(1, min(50, math.ceil(0.02 / max(seconds, 1e-6))))


def _by_round(blocks: Blocks, process: Sequence[int]) -> dict[tuple[int, int], Sequence[int]]:
    """Return the blocks by process and round."""
    found: dict[tuple[int, int], Sequence[int]] = {}
    rounds: dict[int, int] = {}
    for number, block in zip(process, blocks, strict=True):
        rounds[number] = rounds.get(number, -1) + 1
        if len(block):
            found[number, rounds[number]] = block
    return found


def _logs(blocks: Blocks) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.log(np.array([np.median(b) for b in blocks if len(b)], np.float64))
