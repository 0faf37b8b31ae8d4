"""Does an export generate the same images?  A runtime against the checkpoint in float64, in values and in bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from gan_export import images, latents, metrics
from gan_export.artifact import Facts, Manifest
from gan_export.errors import CheckFailedError, GanExportError
from gan_export.references import References
from gan_export.runtimes.base import Session, SessionInfo, check_images
from gan_export.tolerance import Rounding, Rule, Tolerance, half_range

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Reference = Callable[[Floats, Labels | None], "Expected"]

BATCHES = (1, 2, 65)  # one picture, the batch that exporters trace with, and more than one register or cache line holds
# of the batches from a seed: small numbers, what a signed 32-bit integer can't hold, and large ones, over a carry
SPOTS = ((2, 0), ((1 << 32) - 1000, (1 << 31) - 1), ((1 << 63) - 1, (1 << 40) - 7))
SEED = 2  # of the latents that parity is judged on: not those of the reference pictures
QUALITY, QUALITY_SEED = 1000, 4  # pictures, of other latents than int8 is calibrated on
_PIECE = 100
AGAINST = "eager PyTorch in float64"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a batch must be: `exact` float64 (N, C, H, W), and `eager`, the same layers in float32."""

    exact: Doubles
    eager: Floats


@dataclass(frozen=True, slots=True)
class Row:
    """One batch judged.

    batch:     number of images
    max_abs, mean_abs: absolute error of the values; None for an export that gives bytes
    identical: share of equal bytes; byte_step: largest difference of a byte
    psnr:      of the bytes in dB, infinite where all are equal
    passed:    within the tolerance
    """

    batch: int
    max_abs: float | None
    mean_abs: float | None
    identical: float
    byte_step: int
    psnr: float
    passed: bool


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What parity found, and what it was found with.

    tolerance: that was applied; rounding: eager float32's own, which widened it
    """

    against: str
    session: SessionInfo
    tolerance: Tolerance
    rounding: Rounding
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether every batch is within the tolerance."""
        return all(row.passed for row in self.rows)

    @property
    def max_abs(self) -> float | None:
        """The largest absolute error of a value over all batches; None for bytes."""
        errors = [row.max_abs for row in self.rows if row.max_abs is not None]
        return max(errors) if errors else None

    def to_json(self) -> dict[str, Any]:
        """Plain data for a report; an infinite PSNR becomes null."""
        data = asdict(self)
        for row in data["rows"]:
            row["psnr"] = row["psnr"] if math.isfinite(row["psnr"]) else None
        return {**data, "passed": self.passed}


@dataclass(frozen=True, slots=True)
class Quality:
    """What a narrower precision costs, over the pictures of `row`.

    frechet: distance to the checkpoint's own pictures in the features of the digit classifier that ships; None for
    pictures that it has no features for
    """

    row: Row
    frechet: float | None


class ParityError(CheckFailedError):
    """An export that draws something else."""

    def __init__(self, message: str, report: ParityReport) -> None:
        super().__init__(message)
        self.report = report


def eager_reference(checkpoint: Checkpoint) -> Reference:
    """The checkpoint's own layers in PyTorch on the CPU, evaluation mode, BatchNorm not folded: float64 and float32.

    Raises GanExportError, when it is called, for a checkpoint that gives values which are not finite.
    """
    import torch

    from gan_export.module import to_module

    module = to_module(checkpoint.spec, checkpoint.weights)
    doubled = to_module(checkpoint.spec, checkpoint.weights).double()

    def run(z: Floats, labels: Labels | None) -> Expected:
        rest = [torch.from_numpy(labels)] if labels is not None else []
        with torch.inference_mode():
            exact = doubled(torch.from_numpy(z).double(), *rest).numpy()
            eager = module(torch.from_numpy(z), *rest).numpy()
        half_range(checkpoint.spec.range, exact)
        half_range(checkpoint.spec.range, eager)
        return Expected(exact, eager)

    return run


def compare(
    session: Session,
    reference: Reference,
    facts: Facts,
    rule: Rule,
    *,
    batches: Iterable[int] = BATCHES,
    against: str = AGAINST,
) -> ParityReport:
    """Judge `session` on prior latents at each batch size."""
    judged = []
    start = 0
    for batch in batches:
        z = latents.draw(SEED, start, batch, facts.nz, facts.prior)
        labels = np.arange(start, start + batch, dtype=np.int64) % facts.classes if facts.classes else None
        judged.append((session.generate(z, labels), reference(z, labels)))
        start += batch
    return _report(judged, facts, rule, session.info, against)


def compare_draws(
    draw: Callable[[int, int, int], Bytes],
    reference: Reference,
    facts: Facts,
    rule: Rule,
    info: SessionInfo,
    *,
    against: str = AGAINST,
) -> ParityReport:
    """Judge a file that draws from a seed: `draw` of (seed, start, count), image i with label i mod classes."""
    judged = []
    for (seed, start), batch in zip(SPOTS, BATCHES, strict=True):
        z = latents.draw(seed, start, batch, facts.nz, facts.prior)
        labels = (start + np.arange(batch, dtype=np.int64)) % facts.classes if facts.classes else None
        judged.append((draw(seed, start, batch), reference(z, labels)))
    return _report(judged, facts, rule, info, against)


def compare_values(got: Floats | Bytes, manifest: Manifest, rule: Rule, info: SessionInfo) -> ParityReport:
    """Judge the first images of the reference seed by the values that a file carries.

    The error of eager float32 that it states counts up to `tolerance.MOST_STATED`.
    """
    rounding = Rounding.stated(manifest.rounding)
    tolerance = rule.given(rounding)
    row = judge_values(got, manifest.reference_values(), manifest.facts, tolerance)
    return ParityReport("its reference images", info, tolerance, rounding, (row,))


def rounding_of(expected: Sequence[Expected], facts: Facts) -> Rounding:
    """Eager float32's own distance from the exact values over all of these batches."""
    error, off, size, largest = 0.0, 0, 0, 0
    for batch in expected:
        unit = half_range(facts.range, batch.exact)
        error = max(error, float(np.abs(batch.eager - batch.exact).max()) / unit)
        step = _steps(images.to_bytes(batch.eager, facts.range), _bytes(batch.exact, facts))
        off, size, largest = off + int((step != 0).sum()), size + step.size, max(largest, int(step.max()))
    return Rounding(error, off / size, largest)


def _report(
    judged: Sequence[tuple[Floats | Bytes, Expected]], facts: Facts, rule: Rule, info: SessionInfo, against: str
) -> ParityReport:
    for _, expected in judged:
        _check_checkpoint(expected.exact, facts)
    rounding = rounding_of([expected for _, expected in judged], facts)
    tolerance = rule.given(rounding)
    rows = tuple(judge(got, expected.exact, facts, tolerance) for got, expected in judged)
    return ParityReport(against, info, tolerance, rounding, rows)


def quality(session: Session, reference: Reference, facts: Facts, tolerance: Tolerance) -> Quality:
    """`session` beside `reference` on QUALITY prior latents: enough for a distribution's distance, too."""
    got, wanted = [], []
    for start in range(0, QUALITY, _PIECE):
        count = min(_PIECE, QUALITY - start)
        z = latents.draw(QUALITY_SEED, start, count, facts.nz, facts.prior)
        labels = np.arange(start, start + count, dtype=np.int64) % facts.classes if facts.classes else None
        got.append(session.generate(z, labels))
        wanted.append(reference(z, labels).exact)
    drawn, true = np.concatenate(got), np.concatenate(wanted)
    row = judge(drawn, true, facts, tolerance)  # type: ignore[arg-type]
    mine = drawn if drawn.dtype == np.uint8 else images.to_bytes(cast(Floats, drawn), facts.range)
    sides = (mine, _bytes(true, facts))
    try:
        features = [metrics.judge().classifier.features(metrics.readable(cast(Bytes, side))) for side in sides]
    except GanExportError:  # another kind of pictures
        return Quality(row, None)
    ours, theirs = (metrics.Gaussian.of(f) for f in features)
    return Quality(row, max(0.0, metrics.frechet(ours, theirs)))


def judge(got: Floats | Bytes, exact: Doubles, facts: Facts, tolerance: Tolerance) -> Row:
    """One batch: `got` as a session gives it, `exact` float64 (N, C, H, W)."""
    _check_checkpoint(exact, facts)
    check_images(got, len(exact), facts)
    return _row(got, exact, len(exact), facts, tolerance)


def judge_values(got: Floats | Bytes, references: References, facts: Facts, tolerance: Tolerance) -> Row:
    """One batch by the values that a manifest carries of it: `got` holds `references.images` images."""
    check_images(got, references.images, facts)
    planes = got.transpose(0, 3, 1, 2) if got.dtype == np.uint8 else got
    kept = references.of(planes)[None, None, None]  # one image of one line
    mine: Any = kept.transpose(0, 2, 3, 1) if got.dtype == np.uint8 else kept
    return _row(mine, references.values[None, None, None], references.images, facts, tolerance)


def _row(got: Floats | Bytes, exact: Doubles, batch: int, facts: Facts, tolerance: Tolerance) -> Row:
    error = None
    if got.dtype != np.uint8:
        error = np.abs(got.astype(np.float64) - exact)
        error[~np.isfinite(got)] = np.inf
    mine = cast(Bytes, got) if got.dtype == np.uint8 else images.to_bytes(cast(Floats, got), facts.range)
    step = _steps(mine, _bytes(exact, facts))
    square = float(np.mean(step.astype(np.float64) ** 2))
    row = Row(
        batch=batch,
        max_abs=None if error is None else float(error.max()),
        mean_abs=None if error is None else float(error.mean()),
        identical=float(np.mean(step == 0)),
        byte_step=int(step.max()),
        psnr=10.0 * math.log10(255.0**2 / square) if square else math.inf,
        passed=False,
    )
    return _judged(row, step.size, tolerance, half_range(facts.range, exact))


def _check_checkpoint(exact: Doubles, facts: Facts) -> None:
    if exact.shape[1:] != facts.image:
        raise GanExportError(f"the checkpoint draws {exact.shape[1:]}, the file says {facts.image}")


def _bytes(exact: Doubles, facts: Facts) -> Bytes:
    """By the byte rule, which is float32's."""
    return images.to_bytes(exact.astype(np.float32), facts.range)


def _steps(mine: Bytes, theirs: Bytes) -> npt.NDArray[np.int16]:
    return np.abs(mine.astype(np.int16) - theirs.astype(np.int16))


def most_bytes_off(size: int, share: float) -> int:
    """How many of `size` bytes may differ: the share, and three standard deviations of chance; one at least.

    A runtime that rounds half as many bytes to the other side as the share allows has twice the share in one batch of
    16,384 bytes out of four; in a million bytes chance is a tenth of the share.
    """
    expected = min(share, 1.0) * size
    return max(1, math.floor(expected + 3.0 * math.sqrt(expected)))


def _judged(row: Row, size: int, tolerance: Tolerance, unit: float) -> Row:
    """unit: of the tolerance's error of a value."""
    values = tolerance.max_abs is None or row.max_abs is None or row.max_abs <= tolerance.max_abs * unit
    few = round((1.0 - row.identical) * size) <= most_bytes_off(size, tolerance.byte_share)
    near = row.byte_step <= tolerance.byte_step
    clear = tolerance.psnr is None or row.psnr >= tolerance.psnr
    finite = row.max_abs is None or math.isfinite(row.max_abs)
    return Row(**{**asdict(row), "passed": values and few and near and clear and finite})
