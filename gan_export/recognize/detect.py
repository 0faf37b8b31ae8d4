"""Find the family of a state dict, from its keys and shapes only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from gan_export._lib.registry import hint
from gan_export.errors import GanExportError, NotRecognizedError, Topic, linked, printable
from gan_export.graph.layers import Shape
from gan_export.recognize import complete
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.options import AlternativeMatch, Match, Mismatch, ReadOptions, worded
from gan_export.recognize.other_networks import classify_non_generator, first_of_its_kind
from gan_export.recognize.refusal import explain, nearest_of
from gan_export.recognize.registry import ARCHS
from gan_export.recognize.state_dict import Config, DoesNotFitError, ModuleSettings, State

MOST_MODULES = 2000  # the largest known generator has 40
_MOST_PARTS = 6  # first names in the keys of a file, of which one is left out at a time
LONGEST_KEY = 200  # characters; the time of a family's patterns may grow with the square of the length


def recognize(
    shapes: Mapping[str, Shape],
    overrides: ReadOptions | None = None,
    archs: Iterable[Family] = ARCHS,
    settings: Mapping[str, ModuleSettings] | None = None,
    config: Config | None = None,
) -> Match:
    """Read `shapes` (key -> shape, without prefixes such as `module.`) as a generator of one of `archs`.

    settings: the attributes of a pickled module's parts, by path
    config: settings that a script saved beside the state dict

    Raises NotRecognizedError if no family fits.  The message names the kind of network, the first layer that doesn't
    fit, and the nearest families with their missing and left-over keys.  Raises GanExportError for an override that
    contradicts the file, or decides nothing in it.
    """
    overrides = overrides or ReadOptions()
    check(overrides)
    if not shapes:
        raise NotRecognizedError("there are no arrays, and so nothing to recognize")
    modules = len({key.rpartition(".")[0] for key in shapes})
    if modules > MOST_MODULES:
        raise NotRecognizedError(f"{len(shapes):,} arrays of {modules:,} modules: this is no DCGAN-family generator")
    if long := next((key for key in shapes if len(key) > LONGEST_KEY), None):
        raise NotRecognizedError(f"{printable(long, 60)} has {len(long):,} characters: no generator has such a key")
    state = State.of(shapes, settings, config)
    found, refused, mismatches = _try_all(state, overrides, archs)
    if found is not None:
        return found
    if refused:
        raise refused[0]
    closest = () if classify_non_generator(state) else tuple(m.arch for m in nearest_of(mismatches))
    raise NotRecognizedError(explain(state, mismatches, overrides, _two_starts(shapes, overrides, archs)), closest)


def _try_all(
    state: State, overrides: ReadOptions, archs: Iterable[Family]
) -> tuple[Match | None, list[GanExportError], list[Mismatch]]:
    """Return the reading of the families that fit, what refused an override, and why the others don't fit."""
    families = (get_family(overrides.arch, archs),) if overrides.arch else archs
    mismatches: list[Mismatch] = []
    refused: list[GanExportError] = []  # errors of families that fit except for an override
    found: Match | None = None
    for family in families:
        if family.generic and (found or refused or (not overrides.arch and _is_no_chain(state))):
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
    return found, refused, mismatches


def _two_starts(shapes: Mapping[str, Shape], overrides: ReadOptions, archs: Iterable[Family]) -> str:
    """Return a hint in words if two parts of a file both begin with z, and the rest without one is a generator."""
    parts = dict.fromkeys(key.partition(".")[0] for key in shapes)
    if not 2 <= len(parts) <= _MOST_PARTS:
        return ""
    for part in parts:
        mine = State.of({k: s for k, s in shapes.items() if k.startswith(f"{part}.")})
        if not mine.order:
            continue
        rest = State.of({k: s for k, s in shapes.items() if not k.startswith(f"{part}.")})
        found = _try_all(rest, overrides, archs)[0]
        first = mine.modules[mine.order[0]]
        if found is None or not found.spec.signature.is_sampled or first.kind not in ("linear", "conv"):
            continue
        (nz,) = found.spec.signature.inputs[0].shape
        if nz == (first.linear[0] if first.kind == "linear" else first.transposed[0]):
            size = " x ".join(map(str, found.spec.signature.outputs[0].shape))
            return (
                f"{printable(part, 60)} and {printable(rest.modules[rest.order[0]].key, 60)} both take {nz} values, as "
                f"z: if forward never uses {printable(part, 60)}, delete its keys, and the rest is a generator of "
                f"{size} images"
            )
    return ""


def _is_no_chain(state: State) -> bool:
    """Return whether the generic families must not read `state`.

    It may be another network, or have a layer that they would take for a plain one.
    """
    return classify_non_generator(state) is not None or first_of_its_kind(state) is not None


@linked(Topic.FLAGS)
def get_family(name: str, archs: Iterable[Family] = ARCHS) -> Family:
    """Return the family of that name; raise GanExportError with similar names if there is none."""
    known = {f.name: f for f in archs}
    if name not in known:
        raise GanExportError(f"arch={printable(name, 60)}: no such architecture; {hint(name, known)}")
    return known[name]


@linked(Topic.FLAGS)
def check(overrides: ReadOptions) -> None:
    """Raise GanExportError, with the flag's name, for a value that no generator has."""

    def finite(x: float) -> bool:
        return isinstance(x, int | float) and math.isfinite(x)

    def each(x: object, good: Callable[[Any], bool]) -> bool:
        return all(map(good, x)) if isinstance(x, tuple) else good(x)

    o = overrides
    for option, value, good, rule in (
        ("bn_eps=", o.bn_eps, lambda x: each(x, lambda v: finite(v) and v > 0), "above 0"),
        ("slope=", o.slope, lambda x: each(x, lambda v: v == "elu" or (finite(v) and 0 <= v <= 1)), "0 to 1, or elu"),
        ("first_activation=", o.first_activation, lambda x: x in ("on", "off"), "on or off"),
        ("output=", o.output, lambda x: x in ("tanh", "sigmoid", "none"), "tanh, sigmoid or none"),
        ("prior=", o.prior, lambda x: x in ("normal", "uniform"), "normal or uniform"),
        ("upsample=", o.upsample, lambda x: x in ("nearest", "bilinear"), "nearest or bilinear"),
        ("label_order=", o.label_order, lambda x: x in ("after", "before"), "after or before"),
        ("norm=", o.norm, lambda x: x in ("image", "stored"), "image or stored"),
        ("dropout=", o.dropout, lambda x: x in ("off", "seed"), "off or seed"),
        ("psi=", o.psi, lambda x: finite(x) and abs(x) <= 10, "-10 to 10"),
        ("cutoff=", o.cutoff, lambda x: isinstance(x, int) and x >= 0, "at least 0"),
        ("input=", o.input, lambda x: x in ("z", "w", "ws"), "z, w or ws"),
        ("noise=", o.noise, lambda x: x in ("const", "none", "seed"), "const, none or seed"),
        (
            "translate=", o.translate,
            lambda x: isinstance(x, tuple) and len(x) == 2 and each(x, lambda v: finite(v) and abs(v) <= 100),
            "X,Y, each -100 to 100",
        ),
        ("rotate=", o.rotate, lambda x: finite(x) and abs(x) <= 3600, "-3600 to 3600"),
        ("image_size=", o.image_size, lambda x: isinstance(x, int) and x >= 1, "at least 1"),
        ("classes=", o.classes, lambda x: isinstance(x, int) and x >= 0, "at least 0"),
    ):  # fmt: skip
        if value is not None and not good(value):
            raise GanExportError(f"{option}{printable(worded(value), 40)}: must be {rule}")


def _read(family: Family, state: State, overrides: ReadOptions) -> Match | Mismatch:
    draft = SpecBuilder(family, state, overrides)
    try:
        family.build(draft)
        return complete.reading(draft)
    except DoesNotFitError as e:
        near = 0.0 if family.generic else complete.nearness(draft)
        return Mismatch(family.name, str(e), e.missing, complete.unknown(draft), near)


def _with_alternative(found: Match, other: Match, family: Family) -> Match:
    if other.spec.layers == found.spec.layers:
        return found
    also = AlternativeMatch(f"{family.source}", f"arch={family.name}")
    return replace(found, alternatives=(*found.alternatives, also))
