"""Test the statistics by known values, against scipy, and their coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gan_export.bench import stats as bench_stats

RNG = np.random.default_rng(7)


def blocks(middle: float, spread: float, count: int, calls: int = 20) -> list[list[int]]:
    """Return blocks whose medians scatter by `spread`, in nanoseconds around `middle` seconds."""
    moods = np.exp(RNG.normal(0, spread, count))
    return [[int(middle * 1e9 * mood * (1 + 0.001 * RNG.standard_normal())) for _ in range(calls)] for mood in moods]


def test_median_and_its_interval() -> None:
    found = bench_stats.median_seconds(
        [[1_000_000, 3_000_000, 2_000_000], [2_000_000] * 3, [4_000_000, 5_000_000, 6_000_000]]
    )
    reach = stats.t.ppf(0.975, 2) * np.sqrt(np.pi / 2 / 3) * np.log([2, 2, 5]).std(ddof=1)
    assert found.value == pytest.approx(2e-3)
    assert found.low == pytest.approx(2e-3 / np.exp(reach), rel=1e-3)
    assert found.high == pytest.approx(2e-3 * np.exp(reach), rel=1e-3)


def test_one_block_bounds_nothing() -> None:
    found = bench_stats.median_seconds([[10, 20, 30]])
    assert (found.low, found.value, found.high) == (0, pytest.approx(20e-9), np.inf)


@pytest.mark.parametrize("count", [6, 7, 8, 9, 12, 20, 100, 5000])
def test_many_units_are_enclosed_by_two_of_them_as_the_binomial_law_says(count: int) -> None:
    rank = bench_stats.median_ci_rank(count)
    assert 2 * stats.binom.cdf(rank - 1, count, 0.5) <= 0.05 + 1e-9
    assert 2 * stats.binom.cdf(rank, count, 0.5) > 0.05
    found = bench_stats.median_seconds([[i] for i in range(1000, 1000 + count)])
    assert found.low == pytest.approx((999 + rank) * 1e-9)
    assert found.high == pytest.approx((1000 + count - rank) * 1e-9)


NOISES = {
    "log-normal": (lambda rng, n: np.exp(rng.normal(0, 0.3, n)), 1.0),
    "rarely far slower": (lambda rng, n: 1 + 0.1 * np.exp(rng.normal(0, 1, n)), 1.1),
}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("count", range(2, 21))
def test_the_medians_interval_covers_the_truth_as_often_as_it_says(count: int, noise: str) -> None:
    draw, truth = NOISES[noise]
    rng, covered, times = np.random.default_rng(count), 0, 600
    for _ in range(times):
        found = bench_stats.median_seconds([[round(1e8 * unit)] for unit in draw(rng, count)])
        covered += found.low <= 0.1 * truth <= found.high
    assert covered / times >= 0.93


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        bench_stats.median_seconds([[], []])


def test_percentiles_are_of_all_calls_together() -> None:
    calls = list(range(1, 101))
    p50, p90, p99 = bench_stats.percentiles_seconds([calls[:40], calls[40:]])
    assert p50 == pytest.approx(50.5e-9)
    assert p90 == pytest.approx(90.1e-9)
    assert p99 == pytest.approx(99.01e-9)


@pytest.mark.parametrize("freedom", [1, 2, 7, 29, 30, 31, 60, 1000])
def test_student_t_is_scipys(freedom: int) -> None:
    assert bench_stats.student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-4)


def test_ratio_is_welchs() -> None:
    a, b = blocks(1e-3, 0.02, 6), blocks(0.9e-3, 0.01, 9)
    logs = [np.log([np.median(x) for x in side]) for side in (a, b)]
    theirs = stats.ttest_ind(logs[0], logs[1], equal_var=False).confidence_interval(0.95)
    mine = bench_stats.ratio(a, b)
    assert mine.value == pytest.approx(np.exp(logs[0].mean() - logs[1].mean()))
    # the degrees of freedom are rounded down here: never narrower than scipy's
    assert np.log(mine.low) <= theirs.low + 1e-12
    assert np.log(mine.high) >= theirs.high - 1e-12
    assert np.log(mine.high) - np.log(mine.low) == pytest.approx(theirs.high - theirs.low, rel=0.06)


@pytest.mark.parametrize("method", [bench_stats.ratio, bench_stats.paired_ratio], ids=["ratio", "paired"])
def test_the_interval_covers_the_truth_as_often_as_it_says(method: object) -> None:
    covered = sum((r := method(blocks(1e-3, 0.03, 7), blocks(1e-3, 0.03, 7))).low <= 1 <= r.high for _ in range(400))  # type: ignore[operator]
    assert 0.92 <= covered / 400 <= 0.99


def test_a_drift_that_hits_both_cancels_in_turns_and_widens_otherwise() -> None:
    drift = np.linspace(1, 2, 8)
    a = [[int(1e6 * d)] for d in drift]
    b = [[int(1.1e6 * d)] for d in drift]
    paired = bench_stats.paired_ratio(a, b)
    assert paired.low == pytest.approx(1 / 1.1, rel=1e-5)
    assert paired.high == pytest.approx(1 / 1.1, rel=1e-5)
    assert bench_stats.ratio(a, b).high > 1


@pytest.mark.parametrize("method", [bench_stats.ratio, bench_stats.paired_ratio])
def test_one_block_gives_no_ratio(method: object) -> None:
    with pytest.raises(ValueError, match="two"):
        method([[1]], [[1], [2]])  # type: ignore[operator]


def test_three_processes_and_more_are_units_instead_of_blocks() -> None:
    few = [[10, 20, 30], [40], [50]]
    assert bench_stats.independent_samples(few, [0, 0, 1]) == few
    assert bench_stats.independent_samples([*few, [60]], [0, 0, 1, 2]) == [[20, 40], [50], [60]]


def test_pairs_are_of_one_process_and_round() -> None:
    mine = [[1], [2], [3], [4], [5]]
    theirs = [[10], [20], [30], [40], [50], [60], [70], [80]]
    # the first row's process 0 ended after one round, and only the second row has process 2
    assert bench_stats.pairs(mine, [0, 1, 1, 3, 3], theirs, [0, 0, 1, 1, 2, 2, 3, 3]) == (
        [[1], [2, 3], [4, 5]],
        [[10], [30, 40], [70, 80]],
    )
    assert bench_stats.pairs(mine[:3], [0, 1, 1], theirs[:4], [0, 0, 1, 1]) == ([[1], [2], [3]], [[10], [30], [40]])


def test_processes_that_differ_widen_the_interval() -> None:
    """Blocks agree inside each process; only the processes scatter."""
    process = [p for p in range(5) for _ in range(8)]
    moods = np.exp(RNG.normal(0, 0.05, 5))
    samples = [[int(1e6 * moods[p] * (1 + 0.001 * RNG.standard_normal()))] for p in process]
    narrow, honest = (
        bench_stats.ratio(samples, samples),
        bench_stats.ratio(
            bench_stats.independent_samples(samples, process), bench_stats.independent_samples(samples, process)
        ),
    )
    assert honest.half_width > 2 * narrow.half_width


@pytest.mark.parametrize(
    ("medians", "warm"),
    [([1.0, 1.0], False), ([3.0, 2.0, 1.0], False), ([3.0, 1.0, 1.0], False), ([2.0, 1.0, 1.01, 1.0], True)],
)
def test_a_warm_up_ends_when_blocks_stop_getting_faster(medians: list[float], warm: bool) -> None:
    assert bench_stats.is_warm(medians) is warm


def test_settling_is_for_short_calls() -> None:
    assert bench_stats.settle_calls(1.0) == 0
    assert bench_stats.settle_calls(0.01) == 2
    assert bench_stats.settle_calls(1e-6) == 50
