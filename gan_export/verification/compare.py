"""Compare the images of a runtime with those of the checkpoint in float64, in values and in bytes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_export import images
from gan_export.checkpoint.exportable import ExpectedOutputs, PreparedGenerator
from gan_export.errors import CheckFailedError, GanExportError, Topic
from gan_export.formats.bounds import WORST_IMAGE, Tolerance
from gan_export.formats.manifest import Manifest, joined_values
from gan_export.formats.references import References
from gan_export.formats.tolerance import Rounding, Rule, half_range
from gan_export.graph.ports import Port
from gan_export.graph.signature import Array, Signature
from gan_export.metrics import distances, evaluators
from gan_export.runtimes.base import Outputs, Session, SessionInfo, check_outputs, feeds_for

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]

BATCHES = (1, 2, 65)  # one image, the batch that exporters trace with, and more than a register or cache line contains
# of the batches from a seed: small numbers, what a signed 32-bit integer can't hold, and large ones, over a carry
SEED_START_PAIRS = ((2, 0), ((1 << 32) - 1000, (1 << 31) - 1), ((1 << 63) - 1, (1 << 40) - 7))
FEW_BATCHES = (1, 3)  # of a generator that takes images, or whose layers are wide: each image of it costs more
MOST_VALUES = 1 << 27  # of the widest layer in a batch of 65
SEED = 2  # seed of the compared latents, different from that of the reference images
QUALITY, QUALITY_SEED = 1000, 4  # number of images, whose latents are not those that int8 is calibrated with
_PIECE = 100
_AT_ONCE = 1 << 20  # values that are compared at once: little memory beside that of a runtime
FEWEST, MINUTE = 16, 60.0  # images, and seconds, that evidence of fast arithmetic takes
AGAINST = "eager PyTorch in float64"


@dataclass(frozen=True, slots=True)
class BatchComparison:
    """The comparison of one batch.

    batch:     number of images
    shape:     of the first output, without N
    max_abs, mean_abs: absolute error of the values; None for an export that returns bytes
    identical: share of equal bytes; byte_step: largest difference of a byte
    psnr:      PSNR of the bytes in dB, infinite if all are equal
    passed:    whether the batch is within the tolerance
    """

    batch: int
    shape: tuple[int, ...]
    max_abs: float | None
    mean_abs: float | None
    identical: float
    byte_step: int
    psnr: float
    passed: bool


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The result of a comparison.

    tolerance: the tolerance that was used; rounding: the error of eager float32, which may widen it
    """

    against: str
    session: SessionInfo
    tolerance: Tolerance
    rounding: Rounding
    rows: tuple[BatchComparison, ...]

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
        """Return plain data for a report; an infinite PSNR becomes null."""
        data = asdict(self)
        for row in data["rows"]:
            row["psnr"] = row["psnr"] if math.isfinite(row["psnr"]) else None
        return {**data, "passed": self.passed}


@dataclass(frozen=True, slots=True)
class Quality:
    """The cost of a narrower precision over the images of `row`.

    frechet: distance to the checkpoint's own images in the features of the bundled digit classifier; None for images
    that it has no features for, and for fast arithmetic
    worst:   PSNR of the worst image, in dB; of fast arithmetic alone
    passed:  whether that is enough
    """

    row: BatchComparison
    frechet: float | None
    worst: float | None = None
    passed: bool = True


class ParityError(CheckFailedError):
    """An export that generates other images."""

    topic = Topic.MISMATCH

    def __init__(self, message: str, report: ParityReport) -> None:
        super().__init__(message)
        self.report = report


def compare(
    session: Session,
    reference: PreparedGenerator,
    signature: Signature,
    rule: Rule,
    *,
    batches: Iterable[int] | None = None,
    against: str = AGAINST,
) -> ParityReport:
    """Compare `session` at each batch size, and at every image size with the second batch size.

    signature: the generator's, with float outputs
    batches:   BATCHES by default; FEW_BATCHES of a generator that takes images, or whose layers are wide
    """
    if batches is None:
        batches = _batches(reference, signature)
    usual, *others = signature.judged_sizes()
    _release(reference)
    wanted = []
    start = 0
    for batch, sizes in [*((batch, usual) for batch in batches), *((2, sizes) for sizes in others)]:
        wanted.append(reference.batch(SEED, range(start, start + batch), sizes))
        start += batch
    _release(reference)  # again: PyTorch and a runtime don't need the memory of wide layers at the same time
    judged = [(session.run(feeds_for(session, signature, feeds)), expected) for feeds, expected in wanted]
    return _report(judged, signature, rule, session.info, against)


def compare_draws(
    draw: Callable[[int, int, int], Outputs],
    reference: PreparedGenerator,
    signature: Signature,
    rule: Rule,
    info: SessionInfo,
    *,
    against: str = AGAINST,
) -> ParityReport:
    """Compare a file that takes a seed: `draw` takes (seed, start, count); image i has label i mod classes."""
    places = [
        (seed, start, batch)
        for (seed, start), batch in zip(SEED_START_PAIRS, _batches(reference, signature), strict=False)
    ]
    wanted = [reference.batch(seed, range(start, start + batch))[1] for seed, start, batch in places]
    _release(reference)
    judged = [(draw(*place), expected) for place, expected in zip(places, wanted, strict=True)]
    return _report(judged, signature, rule, info, against)


def _batches(reference: PreparedGenerator, signature: Signature) -> tuple[int, ...]:
    return FEW_BATCHES if not signature.is_sampled or _is_wide(reference) else BATCHES


def _is_wide(reference: PreparedGenerator) -> bool:
    return BATCHES[-1] * reference.widest() > MOST_VALUES


def _release(reference: PreparedGenerator) -> None:
    """Free what a reference with wide layers doesn't need now."""
    if _is_wide(reference):
        reference.release()


def compare_values(got: Outputs, manifest: Manifest, rule: Rule, info: SessionInfo) -> ParityReport:
    """Compare the first images of the reference seed with the values in a manifest.

    The error of eager float32 in the manifest counts up to `formats.tolerance.MOST_STATED`.
    Raises GanExportError if the outputs don't have the shapes in the manifest.
    """
    references = manifest.reference_values()
    in_bytes = info.output == "bytes" or info.inputs == "seed"
    stated = manifest.signature.as_bytes() if in_bytes else manifest.signature
    typed = {p.name: got[p.name].astype(p.dtype, copy=False) for p in stated.outputs if p.name in got}
    check_outputs(typed, references.images, stated, {})
    rounding = Rounding.stated(manifest.rounding)
    tolerance = rule.given(rounding)
    row = judge_values(got, references, manifest.signature, tolerance)
    return ParityReport("its reference images", info, tolerance, rounding, (row,))


def rounding_of(expected: Sequence[ExpectedOutputs], signature: Signature) -> Rounding:
    """Return the error of eager float32 over all of these batches and outputs."""
    error, off, size, largest = 0.0, 0, 0, 0
    for batch in expected:
        for port in signature.outputs:
            exact, eager = batch.exact[port.name], batch.eager[port.name]
            unit = half_range(port.range, exact)
            for rows in _pieces(exact):
                error = max(error, float(np.abs(eager[rows] - exact[rows]).max()) / unit)
                step = _steps(levels(eager[rows], port), levels(exact[rows], port))
                off, size, largest = off + int((step != 0).sum()), size + step.size, max(largest, int(step.max()))
    return Rounding(error, off / size, largest)


def _report(
    judged: Sequence[tuple[Outputs, ExpectedOutputs]], signature: Signature, rule: Rule, info: SessionInfo, against: str
) -> ParityReport:
    rounding = rounding_of([expected for _, expected in judged], signature)
    tolerance = rule.given(rounding)
    rows = tuple(compare_batch(got, expected.exact, signature, tolerance) for got, expected in judged)
    return ParityReport(against, info, tolerance, rounding, rows)


def quality(session: Session, reference: PreparedGenerator, signature: Signature, tolerance: Tolerance) -> Quality:
    """Compare `session` with `reference` on QUALITY images, enough for a distance between distributions.

    With wide layers, as many as `evidence` takes.
    """
    if _is_wide(reference):
        return Quality(_over_many(session, reference, signature, tolerance)[0], None)
    got: list[Outputs] = []
    wanted: list[Mapping[str, Doubles]] = []
    for start in range(0, QUALITY, _PIECE):
        feeds = signature.feeds(QUALITY_SEED, range(start, min(start + _PIECE, QUALITY)))
        got.append(session.run(feeds_for(session, signature, feeds)))
        wanted.append(reference.run(feeds).exact)
    drawn = {name: np.concatenate([g[name] for g in got]) for name in got[0]}
    true = {name: np.concatenate([w[name] for w in wanted]) for name in wanted[0]}
    row = compare_batch(drawn, true, signature, tolerance)
    first = signature.outputs[0]
    sides = [signature.to_bytes(side)[first.name] for side in (drawn, true)]
    if first.kind != "image":
        return Quality(row, None)
    _, h, w, c = sides[0].shape
    evaluator = evaluators.find("digits")
    try:
        evaluator.check((c, h, w))
    except GanExportError:  # images without features
        return Quality(row, None)
    features = [evaluator.features(side) for side in sides]
    ours, theirs = (distances.Gaussian.of(f) for f in features)
    return Quality(row, max(0.0, distances.frechet(ours, theirs)))


def evidence(session: Session, reference: PreparedGenerator, signature: Signature, tolerance: Tolerance) -> Quality:
    """Compare `session` with `reference` on as many images as a minute gives, FEWEST to QUALITY, each by itself."""
    row, worst = _over_many(session, reference, signature, tolerance)
    enough = (tolerance.psnr is None or row.psnr >= tolerance.psnr) and worst >= WORST_IMAGE
    return Quality(replace(row, passed=enough), None, worst, enough)


def _over_many(
    session: Session, reference: PreparedGenerator, signature: Signature, tolerance: Tolerance
) -> tuple[BatchComparison, float]:
    """Return the comparison of as many images as a minute gives, and the PSNR of the worst one."""
    started = time.perf_counter()
    rows: list[BatchComparison] = []
    squares: list[float] = []
    piece = 1 if _is_wide(reference) else 16 if signature.is_sampled else 4
    while len(squares) < QUALITY and (len(squares) < FEWEST or time.perf_counter() - started < MINUTE):
        start = len(squares)
        feeds, expected = reference.batch(QUALITY_SEED, range(start, start + piece))
        got = session.run(feeds_for(session, signature, feeds))
        rows.append(compare_batch(got, expected.exact, signature, tolerance))
        port = signature.outputs[0]
        mine = _as_port(got[port.name], port)
        step = _steps(mine if mine.dtype == np.uint8 else levels(mine, port), levels(expected.exact[port.name], port))
        squares += [float(np.mean(image.astype(np.float64) ** 2)) for image in step]
    mean, most = float(np.mean(squares)), max(squares)
    row = replace(
        rows[0],
        batch=len(squares),
        max_abs=max(r.max_abs or 0.0 for r in rows),
        mean_abs=float(np.mean([r.mean_abs or 0.0 for r in rows])),
        identical=float(np.mean([r.identical for r in rows])),
        byte_step=max(r.byte_step for r in rows),
        psnr=_decibels(mean),
        passed=all(r.passed for r in rows),
    )
    return row, _decibels(most)


def _decibels(square: float) -> float:
    """Return the PSNR of bytes with this mean squared difference."""
    return 10.0 * math.log10(255.0**2 / square) if square else math.inf


def compare_batch(
    got: Outputs, exact: Mapping[str, Doubles], signature: Signature, tolerance: Tolerance
) -> BatchComparison:
    """Compare one batch: `got` from a session, `exact` float64 (N, ...) by the names of the outputs.

    signature: the generator's, with float outputs.  The errors are those of the worst output; bytes are counted over
    all outputs.
    """
    rows = []
    for port in signature.outputs:
        true = exact[port.name]
        mine = got.get(port.name)
        if mine is None:
            raise GanExportError(f"the file has no output {port.name}, but the checkpoint has")
        laid = _as_port(mine, port)
        if laid.shape != true.shape:
            raise GanExportError(
                f"output {port.name} has shape {true.shape} from the checkpoint, {laid.shape} from the file"
            )
        rows.append((laid, true, port))
    return _row(rows, len(rows[0][1]), tolerance)


def judge_values(got: Outputs, references: References, signature: Signature, tolerance: Tolerance) -> BatchComparison:
    """Compare one batch, `got` with `references.images` images, with the values in a manifest."""
    laid = {port.name: _as_port(got[port.name], port) for port in signature.outputs}
    joined = references.of(joined_values(signature, laid))
    values, at = references.values, 0
    place = np.arange(len(values)) * references.step % references.size  # within an image
    rows = []
    for port in signature.outputs:
        size = laid[port.name][0].size
        inside = (place >= at) & (place < at + size)
        if inside.any():
            mine = joined[inside].astype(laid[port.name].dtype)
            rows.append((mine, values[inside], port))
        at += size
    return _row(rows, references.images, tolerance)


def levels(values: npt.NDArray[Any], port: Port) -> Bytes:
    """Return values as bytes by the byte rule, which uses float32, in the same shape."""
    return images.levels(values.astype(np.float32), port.range)


def _as_port(array: Array, port: Port) -> Array:
    """Return bytes with the channels in the port's order, and floats unchanged."""
    if array.dtype == np.uint8 and port.layout:
        return np.moveaxis(array, -1, 1 + port.axis("C"))
    return array


def _row(outputs: Sequence[tuple[Array, Doubles, Port]], batch: int, tolerance: Tolerance) -> BatchComparison:
    """Compare the values of each output with the exact ones, a piece at a time."""
    errors: list[float] = []
    total, floats, size, same, largest, square = 0.0, 0, 0, 0, 0, 0.0
    values = True
    for got, exact, port in outputs:
        floating = got.dtype != np.uint8
        if floating:
            errors.append(0.0)
        for rows in _pieces(exact):
            mine, true = got[rows], exact[rows]
            if floating:
                error = np.abs(mine.astype(np.float64) - true)
                error[~np.isfinite(mine)] = np.inf
                errors[-1] = max(errors[-1], float(error.max()))
                total, floats = total + float(error.sum()), floats + error.size
            step = _steps(levels(mine, port) if floating else mine, levels(true, port))
            size, same, largest = size + step.size, same + int((step == 0).sum()), max(largest, int(step.max()))
            square += float(np.sum(step.astype(np.float64) ** 2))
        if floating:
            bound = math.inf if tolerance.max_abs is None else tolerance.max_abs * half_range(port.range, exact)
            values = values and math.isfinite(errors[-1]) and errors[-1] <= bound
    row = BatchComparison(
        batch=batch,
        shape=outputs[0][1].shape[1:],
        max_abs=max(errors) if errors else None,
        mean_abs=total / floats if errors else None,
        identical=same / size,
        byte_step=largest,
        psnr=_decibels(square / size),
        passed=False,
    )
    few = size - same <= most_bytes_off(size, tolerance.byte_share)
    near = row.byte_step <= tolerance.byte_step
    clear = tolerance.psnr is None or row.psnr >= tolerance.psnr
    return replace(row, passed=values and few and near and clear)


def _pieces(array: Array) -> Iterator[slice]:
    """Yield slices of the first axis with at most _AT_ONCE values each, or one row."""
    step = max(1, _AT_ONCE * len(array) // array.size)
    return (slice(start, start + step) for start in range(0, len(array), step))


def _steps(mine: Bytes, theirs: Bytes) -> npt.NDArray[np.int16]:
    steps: npt.NDArray[np.int16] = np.abs(mine.astype(np.int16) - theirs)
    return steps


def most_bytes_off(size: int, share: float) -> int:
    """Return how many of `size` bytes may differ: the share plus three standard deviations of chance, at least one.

    A runtime that rounds half as many bytes to the other side as the share allows has twice the share in a quarter of
    all batches of 16,384 bytes; in a million bytes, chance is a tenth of the share.
    """
    expected = min(share, 1.0) * size
    return max(1, math.floor(expected + 3.0 * math.sqrt(expected)))
