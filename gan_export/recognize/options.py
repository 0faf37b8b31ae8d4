"""What recognising a checkpoint gives, and what a user can say beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from gan_export.graph.words import LabelOrder, Output, Prior, UpsampleMode

if TYPE_CHECKING:  # the commands' --help takes Overrides from here, and nothing else
    from gan_export.graph.spec import GeneratorSpec


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a checkpoint doesn't say and a flag can: None leaves it to the family's default."""

    arch: str | None = None  # --arch: a family's name
    key: str | None = None  # --key: which of several state dicts in the file
    bn_eps: float | None = None  # --bn-eps
    slope: float | None = None  # --slope: LeakyReLU's, 0 for ReLU
    output: Output | None = None  # --output: the last activation
    prior: Prior | None = None  # --prior
    upsample: UpsampleMode | None = None  # --upsample
    image_size: int | None = None  # --image-size: decides where two sizes share keys and shapes
    classes: int | None = None  # --classes: labels of a generator that takes them one-hot beside z
    label_order: LabelOrder | None = None  # --label-order: the label's features after z, or before it
    raw: bool = False  # --raw: keep the model's own range of values

    def explicit(self) -> dict[str, Any]:
        """What differs from the defaults, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def flags(self) -> str:
        """The same as it is typed."""
        return " ".join(f"--{k.replace('_', '-')}" + ("" if v is True else f" {v}") for k, v in self.explicit().items())


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something that the file doesn't say: what, the value taken, and the flag that changes it, "" where none does."""

    what: str
    value: str
    flag: str


@dataclass(frozen=True, slots=True)
class AlternativeMatch:
    """Another reading that fits the same file, and the flag that picks it."""

    title: str
    flag: str


@dataclass(frozen=True, slots=True)
class Match:
    """One way to read a state dict as a generator.

    keys maps each of `spec.parameters()` to the file's key; `ignored` are the file's keys that nothing uses.
    """

    spec: GeneratorSpec
    keys: Mapping[str, str]
    assumed: tuple[Assumption, ...] = ()
    alternatives: tuple[AlternativeMatch, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a family does not fit: how near it came, and what is missing or left over."""

    arch: str
    reason: str
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    nearness: float = 0.0  # share of the file's keys that the family could place, 0..1
