"""Compare the candidates that keys and shapes leave open with the BatchNorm statistics that training left in the file.

A candidate runs on prior latents, layer by layer.  At each BatchNorm, the moments of its values are compared with the
stored ones.  The result is a distance in nats per channel, to which no eps is added.

Some choices concern only the layers between two BatchNorms: the eps of the first one and the slope behind it.  The
second BatchNorm decides them.  Other choices concern the whole generator: the prior, a label, an activation behind the
first Linear.  Their candidates run in parallel until one of them falls behind.

A value is ruled out only if another value fits better by `margin`.  A layer that no BatchNorm shows keeps the family's
default, or takes the value on which the other layers agree.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gan_export.errors import GanExportError
from gan_export.graph.layers import Activation, BatchNorm, Elu, Layer
from gan_export.graph.statistics import Moments, divergence
from gan_export.recognize import questions
from gan_export.recognize.options import Match, ReadOptions, option_of
from gan_export.recognize.questions import OtherActivation

if TYPE_CHECKING:
    from gan_export.graph.torch_module import Weights
    from gan_export.graph.walk import Function, Place, Walk
    from gan_export.graph.words import ActivationKind, Slope

ReadAs = Callable[[ReadOptions], Match]
# (eps, slope) between two BatchNorms; None if no layer there has the setting, or if the setting is not open.
Choice = tuple["float | None", "AnySlope | None"]
AnySlope = float | Literal["elu"] | OtherActivation  # of a hidden activation; no flag sets the last ones

FITS = 0.1  # nats per channel; a BatchNorm at which even the best choice is further off is no evidence
_WELL = 0.01  # nats per channel; a BatchNorm that is less off is never far off
# Times that a BatchNorm must be further off than all before it, to show a wrong layer and not statistics that lag:
# these lag by amounts of one size, since all moved in the same steps.
LOCAL = 10.0
_LEAST_MARGIN, _TIMES = 0.01, 8.0
_MOST_COURSES = 16
_WORK = 1e10  # limit for all runs together in operations (see Walk.cost), about half a second of one core
_MOST_WORK, _PER_BYTE = 4e10, 2e3  # limit for the runs to the first `_FIRST` BatchNorms, and more per byte of weights
_FIRST = 2  # BatchNorms that are compared even if they exceed `_WORK`
_MOST_HELD = 1 << 28  # bytes of values that all candidates keep at a BatchNorm
_WHOLE = ("prior", "classes", "label_order", "first_activation", "upsample")  # options of the whole generator
_SIZE = "image_size"  # another one: sizes differ by the strides of the layers


def margin(best: float) -> float:
    """Return the difference from `best`, in nats per channel, above which a candidate is ruled out.

    Measured on generators that were trained for 100 and 200 steps and whose last batch had 2 images: the distance of
    the correct candidate was at most 0.05, and at most 5 times the smallest distance of a wrong candidate.
    """
    return _LEAST_MARGIN + (_TIMES - 1.0) * best


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a generator between two BatchNorms, with the distance of each choice at the second BatchNorm.

    norm: the second BatchNorm
    norms, activations: the layers whose eps or slope is open
    off: the distance of each choice, in nats per channel
    odd: whether the family's defaults are ruled out
    """

    norm: str
    norms: tuple[str, ...]
    activations: tuple[str, ...]
    off: Mapping[Choice, float]
    odd: bool

    @property
    def best(self) -> float:
        return min(self.off.values())

    def at(self, position: int, value: AnySlope) -> float:
        """Return the distance of `value` with the best value of the other setting; position 0 is the eps, 1 the slope.

        It is infinite if no choice has `value`.  An eps is not judged with a slope that no flag sets, unless the
        statistics rule out all others: such an activation is rare, and would leave most eps open.
        """
        choices = self.off if self.is_other else {c: d for c, d in self.off.items() if questions.has_flag(c[1])}
        found = choices if position == 0 else self.off
        return min((d for choice, d in found.items() if choice[position] == value), default=math.inf)

    @property
    def is_other(self) -> bool:
        """Whether the statistics rule out every slope that a flag sets."""
        flagged = [d for c, d in self.off.items() if questions.has_flag(c[1])]
        return min(flagged, default=math.inf) > self.best + margin(self.best)

    def values(self, position: int) -> tuple[AnySlope, ...]:
        return tuple(dict.fromkeys(v for c in self.off if (v := c[position]) is not None))


@dataclass
class Course:
    """A candidate for the whole generator, and the BatchNorms that it has reached.

    whole:     the options of the whole generator that differ from the family's defaults
    stretches: one per BatchNorm reached, in order
    """

    whole: Mapping[str, Any]
    reading: Match
    walk: Walk
    place: Place
    stretches: list[Stretch] = field(default_factory=list)

    @property
    def is_local(self) -> bool:
        """Whether a BatchNorm is far further off than all before it."""
        best = [s.best for s in self.stretches]
        return any(b > max(_WELL, LOCAL * max(best[:i])) for i, b in enumerate(best) if i)

    @property
    def off(self) -> float:
        return sum(s.best for s in self.stretches)


@dataclass(frozen=True, slots=True)
class Judged:
    """A set of candidates after the comparison with the statistics.

    courses: the candidates that ran to the last BatchNorm within the limit of work, the family's defaults first
    behind:  the candidates that fell behind, each with its difference from the best in nats per channel
    """

    courses: tuple[Course, ...]
    behind: tuple[tuple[Course, float], ...]

    @property
    def is_plain(self) -> bool:
        """Whether a candidate gives the statistics with the family's eps and slopes, and all BatchNorms about alike.

        Statistics that lag behind the weights are off at all BatchNorms; a layer that is read wrong, at one.
        """
        return any(c.stretches and not c.is_local and not any(s.odd for s in c.stretches) for c in self.courses)

    def fits(self, reached: int) -> bool:
        """Return whether a candidate gives the statistics of all BatchNorms, at least `reached`."""
        return any(len(c.stretches) >= reached and all(s.best <= FITS for s in c.stretches) for c in self.courses)


def run(
    reading: Match, read_as: ReadAs, given: ReadOptions, weights: Weights, progress: Callable[[str], None]
) -> Judged:
    """Run every candidate that the open choices allow, and compare it with the stored statistics.

    Strides that scripts seldom have are compared only if the usual ones fit badly at one BatchNorm, or only with
    another eps or slope than the family's, which make up for much of a wrong stride.
    """
    judged = _run(reading, read_as, given, weights, progress, rare=False)
    if judged.is_plain or not any(a.rare for a in reading.assumed):
        return judged
    again = _run(reading, read_as, given, weights, progress, rare=True)
    reached = max((len(c.stretches) for c in judged.courses), default=0)
    return again if again.fits(max(reached, 1)) else judged


def _run(
    reading: Match,
    read_as: ReadAs,
    given: ReadOptions,
    weights: Weights,
    progress: Callable[[str], None],
    *,
    rare: bool,
) -> Judged:
    from gan_export.graph.walk import Walk

    options = {option_of(a.option) for a in reading.unsettled}
    courses: list[Course] = []
    for whole in _wholes(reading, options, rare=rare):
        try:
            other = read_as(replace(given, **whole)) if whole else reading
        except GanExportError:
            continue
        if _norms(other) == _norms(reading) and not any(
            other.spec.layers == c.reading.spec.layers and other.spec.signature == c.reading.spec.signature
            for c in courses
        ):
            walk = Walk(other.spec, weights)
            last = max(i for i, la in enumerate(other.spec.layers) if isinstance(la, BatchNorm))
            if _SIZE in whole and math.isinf(walk.cost(0, last)):
                continue
            courses.append(Course(whole, other, walk, walk.start()))
    behind: list[tuple[Course, float]] = []
    spent, most = 0.0, _MOST_WORK + _PER_BYTE * sum(weights[name].nbytes for name in reading.spec.parameters())
    for number, name in enumerate(_norms(reading)):
        progress(f"comparing candidates with the statistics of {name}")
        stored = Moments(*(weights[f"{name}.{p}"].astype(np.float64) for p in ("running_mean", "running_var")))
        plans = {id(c): _plan(c, name, options) for c in courses}
        twins = _twins(courses, plans)
        once = [c for c in courses if id(c) not in twins]
        if any(_SIZE in c.whole for c in once):
            quick = {id(c): _usual_choices(c, plans[id(c)], stored) for c in once}
            least = min(min(off.values()) for off in quick.values())
            for course in list(once):
                short = min(quick[id(course)].values()) - least
                if _SIZE in course.whole and short > margin(least) and least <= FITS:
                    once.remove(course)
                    gone = [c for c in courses if c is course or twins.get(id(c)) is course]
                    courses = [c for c in courses if c not in gone]
                    behind += [(c, short) for c in gone]
        cost = sum(c.walk.cost(c.place.at, plans[id(c)].stop) * plans[id(c)].runs for c in once)
        held = sum(c.walk.held(plans[id(c)].stop) for c in once)
        if spent + cost > (most if number < _FIRST else _WORK) or held > _MOST_HELD:
            break
        spent += cost
        for course in once:
            _advance(course, plans[id(course)], name, stored)
        for course in courses:
            if (twin := twins.get(id(course))) is not None:
                course.place = twin.place
                course.stretches.append(twin.stretches[-1])
        best = min(c.stretches[-1].best for c in courses)
        if number + 1 == _FIRST and all(s.best > FITS for c in courses for s in c.stretches):
            break  # no candidate fits: the statistics have another origin, and further BatchNorms can't settle anything
        for course in list(courses):
            short = course.stretches[-1].best - best
            if short > margin(best) and best <= FITS:
                courses.remove(course)
                behind.append((course, short))
    return Judged(tuple(courses), tuple(behind))


def _wholes(reading: Match, options: set[str], *, rare: bool) -> list[dict[str, Any]]:
    """Return the combinations of values for the open options of the whole generator.

    The first is empty: the family's defaults.  Combinations with one option follow, then those with two, and so on.
    Other sizes of the image come last, by the strides of layers: the rare ones only if `rare`.
    """
    open_here: dict[str, tuple[Any, ...]] = {}
    for option in _WHOLE:
        if option in options:
            open_here[option] = (None, 0) if option == "classes" else (None, *questions.VALUES[option])
    found = [
        {k: v for k, v in zip(open_here, values, strict=True) if v is not None}
        for values in itertools.product(*open_here.values())
    ]
    found = sorted(found, key=len)[: 4 * _MOST_COURSES]
    sizes = next((a for a in reading.assumed if option_of(a.option) == _SIZE), None)
    if sizes is None:
        return found
    other = (*questions.values(_SIZE, sizes.instead), *(sizes.rare if rare else ()))
    few = [whole for whole in found if whole.keys() <= {"first_activation"}]
    return [*found, *({**whole, _SIZE: size} for whole in few for size in other)]


def _twins(courses: list[Course], plans: Mapping[int, _Plan]) -> dict[int, Course]:
    """Return, by the id of a course, the first one that runs the same layers before the next BatchNorm.

    Courses of several sizes differ only from the first layer with another stride.
    """
    found: dict[int, Course] = {}
    for i, course in enumerate(courses):
        mine, stop = course.reading.spec, plans[id(course)].stop
        for twin in courses[:i]:
            theirs = twin.reading.spec
            if (
                mine.layers[:stop] == theirs.layers[:stop]
                and mine.signature.inputs == theirs.signature.inputs
                and [(la.name, la.inputs) for la in mine.layers] == [(la.name, la.inputs) for la in theirs.layers]
            ):
                found[id(course)] = twin
                break
    return found


def _norms(reading: Match) -> list[str]:
    return [la.name for la in reading.spec.layers if isinstance(la, BatchNorm)]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A plan of the runs up to a BatchNorm.

    stop:   the index of the BatchNorm among the layers
    values: the values of eps and of slope to run
    habit:  the family's defaults
    """

    stop: int
    norms: tuple[BatchNorm, ...]
    activations: tuple[Activation | Elu, ...]
    values: tuple[tuple[float | None, ...], tuple[AnySlope | None, ...]]
    habit: Choice

    @property
    def runs(self) -> int:
        """Return about how many choices are run: all combinations of usual values, and each other value once."""
        usual = [len(_usual(values, habit)) for values, habit in zip(self.values, self.habit, strict=True)]
        return usual[0] * usual[1] + sum(map(len, self.values)) - sum(usual) + 1


def _plan(course: Course, norm: str, options: set[str]) -> _Plan:
    layers = course.reading.spec.layers
    stop = next(i for i, la in enumerate(layers) if la.name == norm)
    between = layers[course.place.at : stop]
    norms = tuple(la for la in between if isinstance(la, BatchNorm)) if "bn_eps" in options else ()
    hidden = tuple(la for la in between if isinstance(la, Activation | Elu) and slope_of(la) is not None)
    activations = hidden if "slope" in options else ()
    eps = tuple(dict.fromkeys([*(la.eps for la in norms), *questions.EPS])) if norms else (None,)
    every = (*map(slope_of, activations), *questions.SLOPES, *questions.OTHER_ACTIVATIONS)
    slopes = tuple(dict.fromkeys(every)) if activations else (None,)
    habit = (norms[0].eps if norms else None, slope_of(activations[0]) if activations else None)
    return _Plan(stop, norms, activations, (eps, slopes), habit)


def _advance(course: Course, plan: _Plan, norm: str, stored: Moments) -> None:
    """Run the choices to the BatchNorm, and append the stretch.

    First all combinations of usual values run.  Then every eps runs with the best slope, and every slope with the best
    eps, until the best choice stays the same.  The course continues from the place of the family's defaults, unless
    another choice fits better by the margin.
    """
    off = _usual_choices(course, plan, stored)

    def best() -> Choice:
        return min(off, key=lambda c: off[c])

    eps, slopes = plan.values
    leader: Choice | None = None
    while leader != best():
        leader = best()
        for choice in [*((e, leader[1]) for e in eps), *((leader[0], s) for s in slopes)]:
            if choice not in off:
                off[choice] = _distance(course, plan, choice, stored)
    ahead = off[plan.habit] - off[leader] > margin(off[leader])
    course.place = course.walk.run(course.place, plan.stop, _instead(plan, leader if ahead else plan.habit))
    course.stretches.append(
        Stretch(norm, tuple(la.name for la in plan.norms), tuple(la.name for la in plan.activations), off, ahead)
    )


def _usual_choices(course: Course, plan: _Plan, stored: Moments) -> dict[Choice, float]:
    """Return the distance of each combination of usual values at the BatchNorm."""
    eps, slopes = (_usual(values, habit) for values, habit in zip(plan.values, plan.habit, strict=True))
    return {choice: _distance(course, plan, choice, stored) for choice in itertools.product(eps, slopes)}


def _distance(course: Course, plan: _Plan, choice: Choice, stored: Moments) -> float:
    """Return the distance of one choice at the BatchNorm, in nats per channel."""
    from gan_export.graph.walk import moments_of

    place = course.walk.run(course.place, plan.stop, _instead(plan, choice))
    return divergence(moments_of(place.values[course.reading.spec.layers[plan.stop].inputs[0]]), stored)


def slope_of(la: Layer) -> Slope | None:
    """Return the slope of a hidden activation, or "elu"; None for another layer."""
    if isinstance(la, Elu):
        return "elu" if la.alpha == 1.0 else None
    return la.slope if isinstance(la, Activation) and la.kind in ("relu", "leaky_relu") else None


def _usual(values: tuple[Any, ...], habit: AnySlope | None) -> tuple[Any, ...]:
    return tuple(v for v in values if v == habit or v in questions.USUAL)


def _instead(plan: _Plan, choice: Choice) -> dict[str, Layer | Function]:
    from torch.nn import functional

    eps, slope = choice
    found: dict[str, Layer | Function] = {}
    if eps is not None:
        found |= {la.name: replace(la, eps=eps) for la in plan.norms}
    if slope == "elu":
        found |= {la.name: Elu(la.name, la.inputs) for la in plan.activations}
    elif isinstance(slope, str):
        found |= {la.name: getattr(functional, slope) for la in plan.activations}
    elif slope is not None:
        kind: ActivationKind = "leaky_relu" if slope else "relu"
        found |= {la.name: Activation(la.name, la.inputs, kind, slope) for la in plan.activations}
    return found
