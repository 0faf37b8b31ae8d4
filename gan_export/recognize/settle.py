"""Settle what a reading assumes, by the file's BatchNorm statistics and the range of the images."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gan_export.graph.layers import BatchNorm
from gan_export.recognize import output_range, questions
from gan_export.recognize.options import Match, ReadOptions, option_of
from gan_export.recognize.verdict import Verdict

if TYPE_CHECKING:
    from gan_export.graph.torch_module import Weights
    from gan_export.recognize.evidence import ReadAs

_FINE = ("bn_eps", "slope")  # options whose values may be too close to change an image
HARMLESS = 2  # largest difference of a pixel, in levels of 255, between values that count as equal
FEWEST_STEPS = 40  # training steps, after which a running mean of momentum 0.1 holds 1.5 % of its initial value


def settle(
    reading: Match,
    read_as: ReadAs,
    given: ReadOptions,
    weights: Weights,
    *,
    steps: int | None,
    progress: Callable[[str], None],
) -> Verdict:
    """Compare the open choices of `reading` with the BatchNorm statistics in `weights`, and with the range of images.

    read_as: reads the same file with other options
    steps:   the number of training steps, None if the file doesn't count them
    """
    if reason := _no_evidence(reading, weights, steps):
        found = Verdict({}, {}, {}, reason)
    else:
        found = _by_statistics(reading, read_as, given, weights, progress)
    output = next((a for a in reading.unsettled if option_of(a.option) == "output"), None)
    if output is None or not reading.spec.signature.is_sampled or not _has_torch():
        return found
    measured = output_range.measure(read_as(replace(given, **found.options)).spec, weights)
    return found if measured is None else found.of_output(output, measured)


def _by_statistics(
    reading: Match, read_as: ReadAs, given: ReadOptions, weights: Weights, progress: Callable[[str], None]
) -> Verdict:
    from gan_export.recognize import evidence, verdict
    from gan_export.recognize.draw import differences

    judged = evidence.run(reading, read_as, given, weights, progress)
    found = verdict.reach(judged, reading)
    taken = replace(given, **found.options)
    fine = {option_of(a.option): a for a in reading.unsettled if option_of(a.option) in _FINE}
    open_values = [(option, value) for option in fine for value in found.left.get(option, ())]
    close = [c for c in open_values if questions.has_flag(c[1])]
    if close:
        others = [read_as(replace(taken, **{option: value})).spec for option, value in close]
        found_levels = differences(read_as(taken).spec, others, weights)
        seen = [c for c, levels in zip(close, found_levels, strict=True) if levels > HARMLESS]
        seen += [c for c in open_values if c not in close]
        for option in dict(close):
            kept = tuple(value for o, value in seen if o == option)
            if kept != found.left[option]:
                found = found.settled(option, fine[option], kept)
    return found


def _no_evidence(reading: Match, weights: Weights, steps: int | None) -> str:
    if not reading.unsettled:
        return "nothing is open"
    norms = [la.name for la in reading.spec.layers if isinstance(la, BatchNorm)]
    if not norms:
        return "it has no BatchNorm, and so no statistics"
    stored = [weights[f"{n}.{p}"] for n in norms for p in ("running_mean", "running_var")]
    if not all(np.isfinite(array).all() for array in stored):
        return "its BatchNorm statistics are not finite"
    if any((weights[f"{n}.running_var"] < 0).any() for n in norms):
        return "its BatchNorm statistics have variances below zero"
    if all((weights[f"{n}.running_mean"] == 0).all() and (weights[f"{n}.running_var"] == 1).all() for n in norms):
        return "its BatchNorm statistics are still the initial ones"
    if steps is not None and steps < FEWEST_STEPS:
        return f"its BatchNorm statistics are those of only {steps} training steps"
    if not reading.spec.signature.is_sampled:
        return "it takes images, and their distribution is unknown"
    return "" if _has_torch() else "needs [torch]"


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None
