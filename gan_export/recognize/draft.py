"""A reading in progress: the file's modules by name, the settings that it doesn't store, and its parts so far."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gan_export.errors import GanExportError, printable
from gan_export.graph.layers import Shape
from gan_export.graph.ports import Port, Size
from gan_export.graph.spec import Chain
from gan_export.graph.words import LabelOrder, Output, Prior, Slope, UpsampleMode
from gan_export.recognize import questions
from gan_export.recognize.options import AlternativeMatch, Assumption, Derived, ReadOptions
from gan_export.recognize.state_dict import DoesNotFitError, Module, State

if TYPE_CHECKING:
    from gan_export.recognize.builder import SpecBuilder


@dataclass(frozen=True, slots=True)
class Family:
    """A layout of generators: the order of its modules, and the settings that its code has and no checkpoint stores.

    name:    the value of `--arch` and of the spec's `arch`
    source:  the repository or class with this layout, for messages
    build:   places the file's modules in a SpecBuilder; raises DoesNotFitError if they are not of this family
    generic: whether it is tried only if no other family fits; its readings say so in a note
    """

    name: str
    source: str
    build: Callable[[SpecBuilder], None]
    output: Output = "tanh"
    slope: Slope = 0.0  # of the hidden activations: 0 is ReLU
    bn_eps: float = 1e-5
    prior: Prior = "normal"
    upsample: UpsampleMode = "nearest"
    label_order: LabelOrder = "after"
    other_outputs: tuple[Output, ...] = ()  # last activations of variants that have the same keys
    generic: bool = False
    pooled_side: int = 0  # what an AdaptiveAvgPool2d of its module gives, if it has one


@dataclass
class Draft:
    """Hold what a family has found and decided so far.  SpecBuilder adds the methods that append layers."""

    family: Family
    state: State
    overrides: ReadOptions
    chain: Chain = field(default_factory=Chain)
    keys: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)  # the modules placed, by the file's prefix
    used_keys: set[str] = field(default_factory=set)  # keys of arrays from which parameters are computed
    seen: set[str] = field(default_factory=set)  # modules that the family looked up, placed or not
    named: set[str] = field(default_factory=set)  # modules that the family looked up by name
    shapes: dict[str, Shape] = field(default_factory=dict)
    assumed: list[Assumption] = field(default_factory=list)
    alternatives: list[AlternativeMatch] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    used_overrides: set[str] = field(default_factory=set)  # the overrides that had something to decide
    classes: int = 0
    range: tuple[float, float] | None = None
    ports: tuple[Port, ...] = ()  # the inputs, if they are not z and a label
    free: dict[str, Size] = field(default_factory=dict)  # sizes of the inputs
    image: Port | None = None  # the output, if it isn't the last value as an image of fixed size
    images: dict[str, str] = field(default_factory=dict)  # if there are several outputs of one size: port -> value
    derived: dict[str, Derived] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)  # see `Match.chosen`
    settled: bool = False
    placed: dict[str, int] = field(default_factory=dict)  # number of layers that took a value, by the override's name
    first_part: int = 0  # number of the chain's layers that --part mapping keeps, 0 for all; the last one is its output
    idle: list[str] = field(default_factory=list)  # keys that the file has and the network doesn't use

    @property
    def last(self) -> str:
        return self.chain.last

    @property
    def shape(self) -> Shape:
        return self.shapes[self.chain.last]

    # Modules of the file.

    def module(self, path: str) -> Module:
        """Return the module at `path`; raise DoesNotFitError if there is none."""
        found = self.maybe(path)
        if found is None:
            raise DoesNotFitError(f"no {path}", (f"{path}.weight",))
        return found

    def maybe(self, path: str) -> Module | None:
        found = self.state.modules.get(path)
        if found is not None:
            self.seen.add(found.key)
            self.named.add(found.key)
        return found

    def matching(self, pattern: str) -> list[tuple[tuple[str, ...], Module]]:
        """Return the modules whose whole path matches, with the pattern's groups, in natural order."""
        found = self.state.matching(pattern)
        self.seen.update(m.key for _, m in found)
        return found

    def sequential(self, prefix: str = "") -> list[tuple[int, Module]]:
        """Return the modules `prefix`0, `prefix`1, ... by index.  Without a prefix, the file is one flat Sequential."""
        found = [(int(i), m) for (i,), m in self.matching(re.escape(prefix) + r"(\d{1,6})")]
        if not found or found[0][0] != 0:
            raise DoesNotFitError(f"no {prefix or 'main.'}0", (f"{prefix or 'main.'}0.weight",))
        if not prefix and len(found) != len(self.state.modules):
            raise DoesNotFitError("not one flat Sequential")
        return found

    def numbered(self, pattern: str, first: tuple[int, ...] = (0,)) -> list[tuple[int, Module]]:
        """Return the modules whose path is `pattern` with a number for `#`.

        Raises DoesNotFitError if their numbers don't begin with one of `first`, or have a gap.
        """
        by_number = re.escape(pattern).replace(r"\#", "#").replace("#", r"(\d{1,4})", 1)
        found = [(int(i), m) for (i,), m in self.matching(by_number)]
        self.named.update(m.key for _, m in found)
        numbers = [i for i, _ in found]
        if not found or numbers[0] not in first or numbers != list(range(numbers[0], numbers[0] + len(found))):
            have = set(numbers)
            absent = next(i for i in range(first[0], first[0] + len(found) + 1) if i not in have)
            raise DoesNotFitError(
                f"no {pattern.replace('#', str(absent))}", (f"{pattern.replace('#', str(absent))}.weight",)
            )
        return found

    def settings(self, path: str, kind: str, **known: int | float | str | bool | None) -> Mapping[str, Any]:
        """Return the attributes of the pickled module at `path` (as the file has it); {} for a state dict.

        Raises GanExportError if its class is not `kind`, or an attribute differs from `known`.
        """
        if not self.state.settings:
            return {}
        self.settled = True
        found = self.state.settings.get(path)
        where = printable(path, 80) or "the network"
        if found is None or found.kind != kind:
            is_now = printable(found.kind, 60) if found else "missing"
            raise GanExportError(f"{where} is {is_now}, not {kind}: not read as {self.family.name}")
        for name, value in known.items():
            if name in found.values and found.values[name] != value:
                says = printable(str(found.values[name]), 40)
                raise GanExportError(f"{where} says {name} {says}, its arrays say {value}: not read")
        return found.values

    # Settings that the file doesn't store.

    def choice(self, option: str, default: Any, what: str, shown: str | None = None) -> Any:
        """Return the override `option`, or else `default`, which is then stated as an assumption.

        what: the assumption's name; shown: its value in words, `default` itself if None
        """
        first = option not in self.used_overrides
        self.used_overrides.add(option)
        given = getattr(self.overrides, option)
        if given is None and first:
            # A generator that takes images has no alternatives: no prior gives the inputs of its BatchNorms.
            instead = () if self.ports else questions.others(option, default)
            self.assumed.append(Assumption(what, str(default) if shown is None else shown, f"{option}=", instead))
        return default if given is None else given

    def each(self, option: str, default: Any, what: str, shown: str | None = None) -> Any:
        """Return `choice` for the next of several layers: an override may be one value, or one value per layer."""
        given = self.choice(option, default, what, shown)
        if not isinstance(given, tuple):
            return given
        at = self.placed.get(option, 0)
        self.placed[option] = at + 1
        return given[min(at, len(given) - 1)]

    def sizes(self, options: list[tuple[int, Any]], what: str, rare: Sequence[tuple[int, Any]] = ()) -> Any:
        """Return the geometry of `image_size`, or else of the first of `options`: (image size, geometry) pairs.

        All of them fit the same keys and shapes, as those of `rare` do, which scripts seldom have.
        """
        first: dict[int, tuple[int, Any]] = {}
        for option in options:
            first.setdefault(option[0], option)
        options = list(first.values())
        seldom = {s: g for s, g in reversed(rare) if s not in first}
        size, geometry = options[0]
        given = self.overrides.image_size
        if given in first or given in seldom:
            self.used_overrides.add("image_size")
            return first[given][1] if given in first else seldom[given]
        rare_sizes = tuple(reversed(seldom))
        if len(options) == 1:
            flag = "image_size=" if seldom else ""
            self.assumed.append(Assumption(what, self._usual(size), flag, rare=rare_sizes))
            return geometry
        if given is not None:
            either = " or ".join(str(s) for s, _ in options)
            raise GanExportError(f"image_size={given}: these keys and shapes give {either}")
        instead = tuple("x".join([str(s)] * self.state.dims) for s, _ in options[1:])
        self.assumed.append(Assumption(what, self._sized(size), "image_size=", instead, rare=rare_sizes))
        self.alternatives += [
            AlternativeMatch(f"{self._sized(s)}, by {what}", f"image_size={s}") for s, _ in options[1:]
        ]
        return geometry

    def _usual(self, size: int) -> str:
        return f"the usual ones: {self._sized(size)}; module= if its code pools, crops or resizes them"

    def _sized(self, side: int) -> str:
        """Return the size of what a generator gives in words: "64x64 images", "64x64x64 volumes"."""
        kinds = {1: "signals of {0} values", 2: "{0}x{0} images", 3: "{0}x{0}x{0} volumes"}
        return kinds[self.state.dims].format(side)
