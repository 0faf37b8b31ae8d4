"""Define the options with which a checkpoint is read, and the result: a reading with its assumptions and findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from gan_export.graph.words import (
    DropoutReading,
    FirstActivation,
    Input,
    LabelOrder,
    Noise,
    NormReading,
    Output,
    Part,
    Prior,
    Slope,
    UpsampleMode,
)

if TYPE_CHECKING:  # the commands' --help takes Overrides from here, and nothing else
    import numpy as np
    import numpy.typing as npt

    from gan_export.graph.spec import GeneratorSpec


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """A set of options for settings that a checkpoint may lack; None leaves a setting to the family's default."""

    arch: str | None = None  # --arch: a family's name
    key: str | None = None  # --key: which of several state dicts in the file
    bn_eps: float | tuple[float, ...] | None = None  # --bn-eps: one for all BatchNorms, or one per BatchNorm
    slope: Slope | tuple[Slope, ...] | None = None  # --slope: of LeakyReLU, 0 for ReLU, or elu; one, or one per layer
    first_activation: FirstActivation | None = None  # --first-activation: whether one follows the first Linear
    output: Output | None = None  # --output: the last activation
    prior: Prior | None = None  # --prior
    upsample: UpsampleMode | None = None  # --upsample
    image_size: int | None = None  # --image-size: decides if several sizes have the same keys and shapes
    classes: int | None = None  # --classes: number of labels that the generator takes as one-hot with z; 0: no label
    label_order: LabelOrder | None = None  # --label-order: the label's features after z, or before it
    norm: NormReading | None = None  # --norm: BatchNorm by each image's own statistics, or by the stored ones
    dropout: DropoutReading | None = None  # --dropout: off, or by seed and index
    size: str | None = None  # --size: HxW, for a generator that takes images of any size
    psi: float | None = None  # --psi: moves w of a style-based generator toward its mean; 1 leaves w unchanged
    cutoff: int | None = None  # --cutoff: number of layers whose w is changed by psi
    psi_input: bool = False  # --psi-input: psi as an input of the generator
    input: Input | None = None  # --input: the input of a style-based generator
    part: Part | None = None  # --part: one of the two parts of a style-based generator
    noise: Noise | None = None  # --noise: the noise of a style-based generator
    translate: tuple[float, ...] | None = None  # --translate: X,Y in sides of the image, of StyleGAN3's input
    rotate: float | None = None  # --rotate: degrees, of StyleGAN3's input
    raw: bool = False  # --raw: keep the model's own range of values

    @staticmethod
    def of(named: Mapping[str, Any]) -> ReadOptions:
        """Return options by their names, several values as a tuple or as JSON has them; TypeError for other names."""
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in named.items()}
        return ReadOptions(**given)

    def of_part(self, part: Part) -> ReadOptions:
        """Return these options for one of the two parts of a style-based generator.

        Truncation belongs to the mapping; noise, and the transform of StyleGAN3's input, to the synthesis.
        """
        if part == "mapping":
            return replace(self, part=part, input=None, noise=None, translate=None, rotate=None)
        return replace(self, part=part, input=None, psi=None, cutoff=None, psi_input=False)

    def explicit(self) -> dict[str, Any]:
        """Return the options that differ from the defaults, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def __str__(self) -> str:
        """Return the options that differ from the defaults: "slope=0.2 raw=True"."""
        return " ".join(f"{name}={worded(value)}" for name, value in self.explicit().items())


def option_of(setting: str) -> str:
    """Return the field of ReadOptions in "slope=" or "image_size=64"; "strides" for ""."""
    return setting.partition("=")[0] or "strides"


def worded(value: object) -> str:
    """Return the value of an option as text: several values are separated by commas."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


class ReadSettings(TypedDict, total=False):
    """A type for the fields of `ReadOptions` as keyword arguments of a function."""

    arch: str | None
    key: str | None
    bn_eps: float | tuple[float, ...] | None
    slope: Slope | tuple[Slope, ...] | None
    first_activation: FirstActivation | None
    output: Output | None
    prior: Prior | None
    upsample: UpsampleMode | None
    image_size: int | None
    classes: int | None
    label_order: LabelOrder | None
    norm: NormReading | None
    dropout: DropoutReading | None
    size: str | None
    psi: float | None
    cutoff: int | None
    psi_input: bool
    input: Input | None
    part: Part | None
    noise: Noise | None
    translate: tuple[float, ...] | None
    rotate: float | None
    raw: bool


@dataclass(frozen=True, slots=True)
class Assumption:
    """A setting that the file doesn't store, with the value taken.

    option:  the field of ReadOptions that changes it, as "slope=", or "classes=0" if only one value does; "" for none
    instead: the other possible values, in words; if there are any, the assumption is unsettled
    figure:  what the file shows of it without settling it, in words
    rare:    values that only the stored statistics can bring up: scripts seldom have them
    """

    what: str
    value: str
    option: str
    instead: tuple[str, ...] = ()
    figure: str = ""
    rare: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A setting that keys and shapes leave open, and that the stored statistics or the range of the images settle.

    option:  the field of ReadOptions that changes it, as "slope="
    instead: the values that were ruled out, in words
    figure:  by how much, in words
    """

    what: str
    value: str
    option: str
    instead: tuple[str, ...]
    figure: str


Grade = Literal["file", "evidence", "assumed"]


@dataclass(frozen=True, slots=True)
class AlternativeMatch:
    """Another reading that fits the same file, and the option that picks it, as "image_size=64"."""

    title: str
    option: str


Compute = Callable[..., "npt.NDArray[np.float64]"]


@dataclass(frozen=True, slots=True)
class Derived:
    """A parameter that the file stores in another form: with gains, normalizations or sums.

    keys:    keys of the arrays that `compute` takes, in this order, as float64
    shape:   shape of the result
    compute: returns float64, which is rounded once; it may not use random numbers or read anything else
    """

    keys: tuple[str, ...]
    shape: tuple[int, ...]
    compute: Compute


@dataclass(frozen=True, slots=True)
class Match:
    """A reading of a state dict as a generator.

    keys:    each parameter of `spec.parameters()` that is not in `derived` -> the file's key
    ignored: the file's keys that the generator doesn't use
    chosen:  values of the fields of `ReadOptions` that change the images, whether they were given or are defaults; an
             export records them
    """

    spec: GeneratorSpec
    keys: Mapping[str, str]
    assumed: tuple[Assumption, ...] = ()
    alternatives: tuple[AlternativeMatch, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    derived: Mapping[str, Derived] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    settled: bool = False  # whether the family itself used the attributes of a pickled module's parts
    found: tuple[Finding, ...] = ()  # the choices that evidence settled
    unchecked: str = ""  # why no assumption was compared with the file's statistics; "" if they were

    @property
    def unsettled(self) -> tuple[Assumption, ...]:
        """Return the assumptions that have other possible values, which give other images."""
        return tuple(a for a in self.assumed if a.instead)

    def grades(self) -> dict[str, Grade]:
        """Return the grade of each choice, by its option's name; choices without an option have the name "strides"."""
        found: dict[str, Grade] = {option_of(f.option): "evidence" for f in self.found}
        return {**{option_of(a.option): "assumed" for a in self.assumed}, **found}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A reason why a family does not fit, with the keys that are missing or left over."""

    arch: str
    reason: str
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    nearness: float = 0.0  # share of the file's keys that the family knows, 0 to 1: `SpecBuilder.nearness`
