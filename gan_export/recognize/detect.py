"""Which family a state dict is: from keys and shapes alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from gan_export._lib.registry import hint
from gan_export.errors import GanExportError, NotRecognisedError, printable
from gan_export.graph.layers import Shape
from gan_export.recognize.builder import DoesNotFitError, Family, SpecBuilder
from gan_export.recognize.options import AlternativeMatch, Match, Mismatch, ReadOptions
from gan_export.recognize.other_networks import classify_non_generator
from gan_export.recognize.registry import ARCHS
from gan_export.recognize.state_dict import State

MOST_MODULES = 2000  # the largest known generator has 40
LONGEST_KEY = 200  # characters; patterns of families take up to the square of that
NEAREST = 3  # families named when none fits
FEW = 6  # keys named of each


def recognize(
    shapes: Mapping[str, Shape], overrides: ReadOptions | None = None, archs: Iterable[Family] = ARCHS
) -> Match:
    """Read `shapes` (key -> shape, prefixes such as `module.` already gone) as a generator of one of `archs`.

    Raises NotRecognisedError where no family fits: it says that this is a discriminator, a classifier or an
    optimiser's state, or names the nearest families with the keys that are missing or left over.  Raises GanExportError
    for an override that contradicts the file, or decides nothing in it.
    """
    overrides = overrides or ReadOptions()
    check(overrides)
    if not shapes:
        raise NotRecognisedError("no arrays here: nothing to recognise")
    modules = len({key.rpartition(".")[0] for key in shapes})
    if modules > MOST_MODULES:
        raise NotRecognisedError(f"{len(shapes):,} arrays of {modules:,} modules: this is no DCGAN-family generator")
    if long := next((key for key in shapes if len(key) > LONGEST_KEY), None):
        raise NotRecognisedError(f"{printable(long, 60)} has {len(long):,} characters: no generator has such a key")
    state = State.of(shapes)
    families = (get_family(overrides.arch, archs),) if overrides.arch else archs
    mismatches: list[Mismatch] = []
    refused: list[GanExportError] = []  # families that fit but for an override
    found: Match | None = None
    for family in families:
        if family.generic and (found or refused or (not overrides.arch and classify_non_generator(state))):
            continue
        try:
            result = _read(family, state, overrides)
        except GanExportError as e:
            refused.append(e)
            continue
        if isinstance(result, Mismatch):
            mismatches.append(result)
        else:
            found = result if found is None else _with_alternative(found, result, family)
    if found is not None:
        return found
    if refused:
        raise refused[0]
    raise NotRecognisedError(_refusal(state, mismatches, overrides))


def get_family(name: str, archs: Iterable[Family] = ARCHS) -> Family:
    """The family of that name.  Raises GanExportError naming the nearest."""
    known = {f.name: f for f in archs}
    if name not in known:
        raise GanExportError(f"--arch {printable(name, 60)}: no such architecture; {hint(name, known)}")
    return known[name]


def check(overrides: ReadOptions) -> None:
    """Raises GanExportError, naming the flag, for a value that no generator has."""

    def finite(x: float) -> bool:
        return isinstance(x, int | float) and math.isfinite(x)

    o = overrides
    for flag, value, good, rule in (
        ("--bn-eps", o.bn_eps, lambda x: finite(x) and x > 0, "above 0"),
        ("--slope", o.slope, lambda x: finite(x) and 0 <= x <= 1, "0 to 1"),
        ("--output", o.output, lambda x: x in ("tanh", "sigmoid", "none"), "tanh, sigmoid or none"),
        ("--prior", o.prior, lambda x: x in ("normal", "uniform"), "normal or uniform"),
        ("--upsample", o.upsample, lambda x: x in ("nearest", "bilinear"), "nearest or bilinear"),
        ("--label-order", o.label_order, lambda x: x in ("after", "before"), "after or before"),
        ("--image-size", o.image_size, lambda x: isinstance(x, int) and x >= 1, "at least 1"),
        ("--classes", o.classes, lambda x: isinstance(x, int) and x >= 1, "at least 1"),
    ):
        if value is not None and not good(value):
            raise GanExportError(f"{flag} {printable(str(value), 40)}: must be {rule}")


def _read(family: Family, state: State, overrides: ReadOptions) -> Match | Mismatch:
    draft = SpecBuilder(family, state, overrides)
    try:
        family.build(draft)
        return draft.reading()
    except DoesNotFitError as e:
        unknown = draft.unknown()
        # What was placed counts more than what has a name that the family uses.
        near = 1 - (len(unknown) + len(draft.left_over())) / (2 * max(state.size, 1))
        return Mismatch(family.name, str(e), e.missing, unknown, near)


def _with_alternative(found: Match, other: Match, family: Family) -> Match:
    if other.spec.layers == found.spec.layers:
        return found
    also = AlternativeMatch(f"{family.source}", f"--arch {family.name}")
    return Match(found.spec, found.keys, found.assumed, (*found.alternatives, also), found.ignored, found.notes)


def _refusal(state: State, mismatches: list[Mismatch], overrides: ReadOptions) -> str:
    if what := classify_non_generator(state):
        return f"this is {what}, not a generator; give the generator's file or, with --key, its part of this one"
    nearest = sorted(mismatches, key=lambda m: -m.nearness)[:NEAREST]
    nearest = [m for m in nearest if m.nearness > 0.6 * nearest[0].nearness] or nearest
    lines = []
    for m in nearest:
        line = f"{m.arch}: {printable(m.reason, 120)}"
        line += f", missing {_few(m.missing)}" if m.missing else ""
        line += f", left over {_few(m.left_over)}" if m.left_over and m.nearness > 0.5 else ""
        lines.append(line)
    if overrides.arch:
        return f"--arch {overrides.arch} does not fit these keys and shapes: {lines[0]}"
    without = [m.key for m in state.modules.values() if m.lacks_statistics]
    note = f"; {printable(without[0], 60)} has no running statistics: such a norm is not read" if without else ""
    return f"no known architecture has these keys and shapes{note}; nearest: " + "; ".join(lines)


def _few(keys: tuple[str, ...]) -> str:
    shown = ", ".join(printable(k, 60) for k in keys[:FEW])
    return shown + (f" and {len(keys) - FEW} more" if len(keys) > FEW else "")
