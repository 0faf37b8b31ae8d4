"""Group a state dict into modules: by the prefix of keys and by shape, independent of their order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from gan_export.errors import printable
from gan_export.graph.layers import Shape

Kind = Literal["conv", "linear", "batchnorm", "embedding", "other"]

PICTURE_CHANNELS = 4  # at most: grayscale, color, color with alpha
_SPOKEN: dict[Kind, str] = {
    "conv": "a convolution", "linear": "a Linear", "batchnorm": "a BatchNorm", "embedding": "an Embedding",
    "other": "a layer of another kind",
}  # fmt: skip
COUNTERS = ("num_batches_tracked", "n_averaged")  # counters of torch, which evaluation never reads
_EMBEDDING = re.compile(r"emb(?:ed|eds|edding|eddings)?(?:$|[._\d])", re.IGNORECASE)


Config = Mapping[str, int | float | str | bool | None]  # settings by their names


class DoesNotFitError(Exception):
    """A reason why a family doesn't fit a file, and the keys that the file lacks."""

    def __init__(self, reason: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class ModuleSettings:
    """The settings of a pickled module: the name of its class, and its attributes that are numbers or words."""

    kind: str
    values: Mapping[str, int | float | str | None]


@dataclass(frozen=True, slots=True)
class Module:
    """The arrays of one prefix.

    path: the prefix, without the part that is common to all modules of the file (`main.`, `model.`)
    key:  the prefix in the file
    arrays: parameter name -> shape
    kind: "conv" for both convolutions and transposed ones, which only their channels distinguish; the kernel has the
          same length along each of its 1, 2 or 3 dimensions
    """

    path: str
    key: str
    arrays: Mapping[str, Shape]

    kind: Kind = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", _kind(self.path, self.arrays))

    @property
    def weight(self) -> Shape:
        """The shape of the weight, () if there is none."""
        return self.arrays.get("weight", ())

    @property
    def bias(self) -> bool:
        return "bias" in self.arrays

    @property
    def lacks_statistics(self) -> bool:
        """Whether the arrays are a norm without running statistics: a GroupNorm, or a BatchNorm without tracking."""
        return set(self.arrays) == {"weight", "bias"} and all(len(s) == 1 for s in self.arrays.values())

    @property
    def linear(self) -> tuple[int, int]:
        """Input and output features of a Linear, weight (out, in).  Raises DoesNotFitError for another kind."""
        out, inside = self._of("linear").weight
        return inside, out

    @property
    def conv(self) -> tuple[int, int]:
        """Input and output channels of a convolution, weight (out, in, k, ...).

        Raises DoesNotFitError for another kind.
        """
        out, inside = self._of("conv").weight[:2]
        return inside, out

    @property
    def transposed(self) -> tuple[int, int]:
        """Input and output channels of a transposed convolution, weight (in, out, k, ...).

        Raises DoesNotFitError for another kind.
        """
        inside, out = self._of("conv").weight[:2]
        return inside, out

    @property
    def kernel(self) -> int:
        """The kernel size of a convolution or transposed one.  Raises DoesNotFitError for another kind."""
        return self._of("conv").weight[2]

    @property
    def dims(self) -> int:
        """The number of dimensions of a convolution: 1 of signals, 2 of images, 3 of volumes."""
        return len(self._of("conv").weight) - 2

    @property
    def channels(self) -> int:
        """The channels of a BatchNorm.  Raises DoesNotFitError for another kind."""
        return self._of("batchnorm").arrays["running_mean"][0]

    def _of(self, kind: Kind) -> Module:
        if self.kind != kind:
            raise DoesNotFitError(f"{self.key} is {self}, not {_SPOKEN[kind]}")
        return self

    def __str__(self) -> str:
        arrays = ", ".join(f"{printable(name, 40)} {shape}" for name, shape in list(self.arrays.items())[:5])
        return f"{_SPOKEN[self.kind]} ({arrays})"

    def keys(self) -> dict[str, str]:
        """Return parameter name -> the file's key."""
        return {name: f"{self.key}.{name}" if self.key else name for name in self.arrays}


@dataclass(frozen=True)
class State:
    """The modules of a file by path, in natural order of their names (2 before 10), and the keys of its counters.

    scalars:  keys of single numbers, which aren't modules; a family may use them
    settings: settings of a pickled module and its parts, by path
    config:   settings that a script saved beside the state dict; of a list or a dict, the length
    order:    the paths in the order of the file, in which the script defines its modules
    """

    modules: Mapping[str, Module]
    embeddings: tuple[Module, ...]
    counters: tuple[str, ...]
    scalars: frozenset[str] = frozenset()
    settings: Mapping[str, ModuleSettings] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    config: Config = field(default_factory=dict)

    @staticmethod
    def of(
        shapes: Mapping[str, Shape],
        settings: Mapping[str, ModuleSettings] | None = None,
        config: Config | None = None,
    ) -> State:
        """Group `shapes` into modules; label embeddings don't take part in finding the common prefix."""
        grouped: dict[str, dict[str, Shape]] = {}
        counters: list[str] = []
        scalars: list[str] = []
        for key, shape in shapes.items():
            prefix, _, name = key.rpartition(".")
            if name in COUNTERS:
                counters.append(key)
            elif not shape:
                scalars.append(key)
            else:
                grouped.setdefault(prefix, {})[name] = tuple(shape)
        found = [Module(p, p, a) for p, a in sorted(grouped.items(), key=lambda item: natural_sort_key(item[0]))]
        embeddings = tuple(m for m in found if m.kind == "embedding")
        rest = [m for m in found if m.kind != "embedding"]
        cut = _common_prefix([m.path for m in rest])
        named = {m.key for m in rest}
        return State(
            {m.path[cut:]: Module(m.path[cut:], m.key, m.arrays) for m in rest},
            embeddings,
            tuple(counters),
            frozenset(scalars),
            settings or {},
            tuple(key[cut:] for key in grouped if key in named),
            config or {},
        )

    @cached_property
    def dims(self) -> int:
        """The number of dimensions of what the convolutions give; 2 if there are none, or of different dimensions."""
        found = {m.dims for m in self.modules.values() if m.kind == "conv"}
        return found.pop() if len(found) == 1 else 2

    @cached_property
    def size(self) -> int:
        """The number of arrays."""
        return sum(len(m.arrays) for m in (*self.modules.values(), *self.embeddings))

    def matching(self, pattern: str) -> list[tuple[tuple[str, ...], Module]]:
        """Return (groups, module) of the modules whose whole path matches, in natural order."""
        compiled = re.compile(pattern)
        return [(m.groups(), mod) for path, mod in self.modules.items() if (m := compiled.fullmatch(path))]


def _kind(path: str, arrays: Mapping[str, Shape]) -> Kind:
    weight = arrays.get("weight", ())
    names = set(arrays)
    if any(d < 1 for s in arrays.values() for d in s):
        return "other"
    if names in ({"running_mean", "running_var"}, {"weight", "bias", "running_mean", "running_var"}):
        same = set(arrays.values())
        return "batchnorm" if len(same) == 1 and all(len(s) == 1 for s in same) else "other"
    if not names or names - {"weight", "bias"} or len(arrays.get("bias", (0,))) != 1:
        return "other"
    if len(weight) in (3, 4, 5) and len(set(weight[2:])) == 1:
        return "conv"
    if len(weight) == 2:
        return "embedding" if names == {"weight"} and _EMBEDDING.search(path) else "linear"
    return "other"


def natural_sort_key(text: str) -> list[tuple[int, int, str]]:
    """Return a sorting key with which `main.9` comes before `main.12`."""
    # Digits beyond 18 are compared as text: int() of a very long run is slow, and no module has such an index.
    return [
        (0, int(t), "") if t.isascii() and t.isdigit() and len(t) < 19 else (1, 0, t)
        for t in re.split(r"(\d+)", text)
        if t
    ]


def _common_prefix(paths: list[str]) -> int:
    """Return the length of the leading components that all paths share, without the last component of each."""
    if not paths:
        return 0
    low, high = min(paths).split(".")[:-1], max(paths).split(".")[:-1]
    shared = 0
    for a, b in zip(low, high, strict=False):
        if a != b:
            break
        shared += len(a) + 1
    return shared
