"""Decide which open choices the BatchNorm statistics settle, which ones they narrow, and which ones stay open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gan_export.graph.layers import BatchNorm
from gan_export.recognize import questions
from gan_export.recognize.detect import get_family
from gan_export.recognize.evidence import FITS, LOCAL, AnySlope, Course, Judged, Stretch, margin, slope_of
from gan_export.recognize.options import Assumption, Finding, Match, option_of

if TYPE_CHECKING:
    from gan_export.graph.words import Slope
    from gan_export.recognize.output_range import OutputRange

_POSITION = {"bn_eps": 0, "slope": 1}
_BEST = "nearest to the stored statistics"
_RARE_STRIDES = "rarer ones, which give another size"  # of a generic reading that no statistics confirm
_MOST_NAMED = 6  # values of an option of the whole generator, the nearest first
_LAGS = (
    "; no activation comes before it, so that its statistics lag behind the weights, or are of another file; "
    "recalibrate=1024 estimates them again"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision on each open choice.

    options: the options whose values differ from the family's defaults
    found:   the findings of the settled choices, by the option's name
    left:    the other possible values of each choice that was judged and is not settled, by the option's name
    unfit:   why the statistics are no evidence; "" if they are
    figures: what the file shows of an open choice, in words, by the option's name
    misfit:  an assumption on layers that the statistics contradict in every reading; None if there are none
    """

    options: Mapping[str, Any]
    found: Mapping[str, Finding]
    left: Mapping[str, tuple[Any, ...]]
    unfit: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)
    misfit: Assumption | None = None

    def settled(self, option: str, assumption: Assumption, left: tuple[Any, ...]) -> Verdict:
        """Return the verdict with `left` as the only other values of `option`; if `left` is empty, it is settled."""
        rest = {o: v for o, v in self.left.items() if o != option}
        if left:
            return replace(self, left={**rest, option: left})
        taken = self.options.get(option)
        shown = assumption.value if taken is None else questions.word(option, taken)
        figure = f"{_BEST}; the other values change no byte by more than 2"
        finding = Finding(assumption.what, shown, assumption.option, _but(assumption, shown), figure)
        return replace(self, left=rest, found={**self.found, option: finding})

    def of_output(self, assumption: Assumption, measured: OutputRange) -> Verdict:
        """Return the verdict with the last activations that the range of the values before it leaves possible."""
        shown = replace(self, figures={**self.figures, "output": str(measured)})
        if not measured.needs_activation or assumption.value == "none":
            return shown
        kept = (v for v in questions.values("output", assumption.instead) if v != "none")
        return replace(shown, left={**self.left, "output": tuple(kept)})


def reach(judged: Judged, habit: Match) -> Verdict:
    """Return the verdict on the choices that `habit` assumes, from the distances of the compared candidates."""
    course = min(judged.courses, key=lambda c: (_is_behind(c, judged), len(c.whole)))
    used = [s for s in course.stretches if s.best <= FITS]
    misfit = _misfit(course.stretches)
    if course.whole and len(used) < len(course.stretches):  # if not all defaults, it must fit everywhere
        return Verdict({}, {}, {}, "no reading gives the statistics of all its BatchNorms", misfit=misfit)
    if not used:
        if not course.stretches:
            return Verdict({}, {}, {}, "its BatchNorms take more work than is done here")
        first = course.stretches[0]
        lags = "" if first.norms or first.activations else _LAGS
        unfit = f"no reading gives the statistics of {first.norm}: {first.best:.2g} nats per channel off{lags}"
        return Verdict({}, {}, {}, unfit, misfit=misfit)
    assumed = {option_of(a.option): a for a in habit.assumed if a.instead or a.rare}
    options: dict[str, Any] = dict(course.whole)
    found: dict[str, Finding] = {}
    left: dict[str, tuple[Any, ...]] = {}
    figures: dict[str, str] = {}
    for option, assumption in assumed.items():
        if option in _POSITION:
            value, rest, figure = _of_layers(option, used, course.reading)
            if value is not None:
                options[option] = value
            if rest and not any(map(questions.has_flag, rest)):
                figures[option] = figure
        else:
            rest, figure = _of_wholes(option, course, judged, assumption)
            value = course.whole.get(option)
        if rest is None:
            continue
        shown = _other(option, value, assumption)
        if rest:
            left[option] = rest
        else:
            found[option] = Finding(assumption.what, shown, assumption.option, _but(assumption, shown), figure)
    return Verdict(options, found, left, figures=figures, misfit=misfit)


def _misfit(stretches: Sequence[Stretch]) -> Assumption | None:
    """Return an assumption on the first layers that are wrong in every reading, by the statistics behind them.

    Statistics that lag behind the weights are off at all BatchNorms alike, the first one included, which no activation
    comes before; recalibrate= then estimates them again.  If the BatchNorms before one fit far better, its statistics
    are those of other layers, and recalibrate= would hide it.
    """
    for i, s in enumerate(stretches):
        before = max((b.best for b in stretches[:i]), default=math.inf)
        if s.best > max(FITS, LOCAL * before):
            what = f"the layers between {stretches[i - 1].norm} and {s.norm}"
            figure = (
                f"in every reading, {s.norm} is {s.best:.2g} nats per channel off its statistics, and those before it "
                f"at most {before:.2g}; recalibrate= would only hide it"
            )
            return Assumption(
                what, "as other files have them", "module=", ("layers without weights of another kind",), figure
            )
    return None


def _but(assumption: Assumption, shown: str) -> tuple[str, ...]:
    """Return the values that were possible before, in words, without the one that was taken."""
    return tuple(w for w in (*assumption.instead, assumption.value) if w != shown)


def _is_behind(course: Course, judged: Judged) -> bool:
    """Return whether another remaining candidate fits better by the margin at some BatchNorm."""
    return any(
        mine.best - theirs.best > margin(theirs.best) and theirs.best <= FITS
        for other in judged.courses
        for mine, theirs in zip(course.stretches, other.stretches, strict=True)
    )


def _of_wholes(
    option: str, taken: Course, judged: Judged, assumption: Assumption
) -> tuple[tuple[Any, ...] | None, str]:
    """Return the other possible values of an option of the whole generator, and by how much the ruled-out ones lag.

    The values are None if no candidate differs in the option.  Rare values that differ only behind the last BatchNorm
    are left out; those that are named as possible, and were too large to be judged, stay.
    """
    mine = taken.whole.get(option)
    beside = [c for c in judged.courses if c.whole.get(option) != mine and not _is_behind(c, judged)]
    seldom = {c.whole.get(option) for c in beside if c.stretches[-1] is taken.stretches[-1]} & {*assumption.rare}
    tried = {c.whole.get(option) for c in (*judged.courses, *(c for c, _ in judged.behind))}
    named = questions.values(option, assumption.instead) if option == "image_size" else ()
    near = sorted(beside, key=lambda c: c.off)
    rest = dict.fromkeys([*(c.whole.get(option) for c in near), *(v for v in named if v not in tried)])
    if rest:
        return tuple(v for v in rest if v not in seldom)[:_MOST_NAMED] or None, ""
    others = [short for c, short in judged.behind if c.whole.get(option) != mine]
    others += [_lead(taken, c) for c in judged.courses if c.whole.get(option) != mine]
    if not others:
        return None, ""
    return (), _figure(min(others))


def _lead(ahead: Course, behind: Course) -> float:
    return max(b.best - a.best for a, b in zip(ahead.stretches, behind.stretches, strict=True))


def _of_layers(
    option: str, stretches: Sequence[Stretch], reading: Match
) -> tuple[AnySlope | tuple[AnySlope, ...] | None, tuple[Any, ...] | None, str]:
    """Return the value of an option that each layer has, the other possible values, and the figure.

    The value is None for the family's default.  The other values are None if no BatchNorm shows the option.
    """
    position = _POSITION[option]
    layers = _layers(option, reading)
    judged: dict[str, Stretch] = {}
    for s in stretches:
        if s.values(position):
            judged |= dict.fromkeys(s.norms if option == "bn_eps" else s.activations, s)
    if not judged:
        return None, None, ""
    habit = tuple(layers.values())
    values = dict.fromkeys(v for s in judged.values() for v in s.values(position))
    candidates = dict.fromkeys([habit, *(tuple(v for _ in habit) for v in values)])
    lags = {c: _lag(c, layers, judged, position) for c in candidates}
    possible = [c for c in candidates if not lags[c][1]]
    with_flags = [c for c in possible if questions.has_flag(c)]
    # If neither a common value nor the family's defaults fit, each layer takes its own best value, and a layer that no
    # BatchNorm shows the value of the one before it.  The option then stays open.
    if not possible:
        each = {n: _nearest(s, position) for n, s in judged.items()}
        mixed = tuple(_carried(layers, each).values())
        if len(judged) < len(layers):
            every = [tuple(each.get(n, v) for n in layers) for v in values if questions.has_flag(v)]
            return mixed, tuple(v for v in dict.fromkeys(every) if v != mixed), _BEST
        others = tuple(v for v in values if v in questions.OTHER_ACTIVATIONS) if _is_other(judged) else ()
        return mixed, others, _BEST
    taken = habit if habit in possible else min(with_flags or [habit], key=lambda c: lags[c][0])
    rest = [c for c in possible if c != taken]
    ruled_out = [abs(lags[c][0] - lags[taken][0]) for c in candidates if c not in possible and c != taken]
    figure = _figure(min(ruled_out)) if ruled_out else _BEST
    if not with_flags:
        figure = f"the values named instead are {_figure(lags[taken][0] - min(lags[c][0] for c in rest))}"
    elif option == "slope" and not rest and (hidden := _without_norm(layers, judged, reading)):
        rest = [tuple(v if n in hidden else t for n, t in zip(layers, taken, strict=True)) for v in values]
        rest = [c for c in dict.fromkeys(rest) if c != taken]
    return None if taken == habit else _short(taken), tuple(map(_short, rest)), figure


def _carried(layers: Mapping[str, Slope], each: Mapping[str, AnySlope]) -> dict[str, AnySlope]:
    """Return each layer's own value, or else that of the layer before it."""
    carried: dict[str, AnySlope] = {}
    before: AnySlope | None = None
    for name, habit in layers.items():
        before = each.get(name, before)
        carried[name] = habit if before is None else before
    return carried


def _is_other(judged: Mapping[str, Stretch]) -> bool:
    return any(s.is_other for s in judged.values())


def _nearest(stretch: Stretch, position: int) -> AnySlope:
    """Return the best value that a flag can set."""
    return min(filter(questions.has_flag, stretch.values(position)), key=lambda v: stretch.at(position, v))


def _without_norm(activations: Mapping[str, Slope], judged: Mapping[str, Stretch], reading: Match) -> set[str]:
    """Return the activations that no statistics show, and that follow no BatchNorm, as those that are shown do.

    They may be of another kind, such as the SELU of layers that have no BatchNorm.
    """
    norms = {la.name for la in reading.spec.layers if isinstance(la, BatchNorm)}
    return {
        la.name
        for la in reading.spec.layers
        if la.name in activations and la.name not in judged and la.inputs[0] not in norms
    }


def _lag(
    candidate: tuple[AnySlope, ...], layers: Mapping[str, Slope], judged: Mapping[str, Stretch], position: int
) -> tuple[float, bool]:
    """Return the largest difference of a candidate from the best at any BatchNorm, and whether it is ruled out."""
    most, out = 0.0, False
    for name, value in zip(layers, candidate, strict=True):
        if (s := judged.get(name)) is not None:
            short = s.at(position, value) - s.best
            most, out = max(most, short), out or short > margin(s.best)
    return most, out


def _layers(option: str, reading: Match) -> dict[str, Slope]:
    """Return the layers that have the option, in order, each with its value in `reading`."""
    if option == "bn_eps":
        return {la.name: la.eps for la in reading.spec.layers if isinstance(la, BatchNorm)}
    return {la.name: slope for la in reading.spec.layers if (slope := slope_of(la)) is not None}


def _short(values: tuple[AnySlope, ...]) -> AnySlope | tuple[AnySlope, ...]:
    return values[0] if len(set(values)) == 1 else values


def _figure(nats: float) -> str:
    return f"{nats:.2g} nats per channel nearer to the stored statistics"


def _other(option: str, value: Any, habit: Assumption) -> str:
    """Return a value in words; None is the family's default."""
    if option == "image_size" and value is not None:
        return next((w for w in habit.instead if w.partition("x")[0] == str(value)), f"{value}x{value}")
    return habit.value if value is None else questions.word(option, value)


def graded(reading: Match, verdict: Verdict, habit: Match) -> Match:
    """Return the reading with its settled choices as findings, and its open choices with the remaining values only."""
    before = {a.what for a in habit.assumed}
    after = {a.what: a for a in reading.assumed}
    assumed = []
    for a in habit.assumed:
        option = option_of(a.option)
        if option in verdict.found:
            continue
        value = after[a.what].value if a.what in after else _other(option, verdict.options.get(option), a)
        left = verdict.left.get(option)
        instead = a.instead if left is None else tuple(_other(option, v, a) for v in left)
        if verdict.unfit and a.rare and not a.instead and get_family(reading.spec.arch).generic:
            instead = (_RARE_STRIDES,)
        assumed.append(replace(a, value=value, instead=instead, figure=verdict.figures.get(option, "")))
    assumed += [a for a in reading.assumed if a.what not in before]  # of layers that another choice added
    if verdict.misfit is not None:
        assumed.append(verdict.misfit)
    return replace(reading, assumed=tuple(assumed), found=tuple(verdict.found.values()), unchecked=verdict.unfit)
