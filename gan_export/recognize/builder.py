"""Writing a spec while reading a state dict: what a family calls to place modules, and what it may assume."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gan_export.errors import GanExportError
from gan_export.graph.layers import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Crop,
    Embedding,
    Layer,
    Linear,
    Multiply,
    OneHot,
    Reshape,
    Scale,
    Shape,
    Upsample,
    layer_parameters,
    output_shape,
)
from gan_export.graph.spec import MOST_LATENTS, MOST_VALUES, Chain, GeneratorSpec
from gan_export.graph.words import LabelOrder, Output, Prior, UpsampleMode
from gan_export.recognize.options import AlternativeMatch, Assumption, Match, ReadOptions
from gan_export.recognize.state_dict import PICTURE_CHANNELS, DoesNotFitError, Module, State

__all__ = ["DoesNotFitError", "Family", "SpecBuilder"]


@dataclass(frozen=True, slots=True)
class Family:
    """An architecture: how its modules follow each other, and what its code says that no checkpoint does.

    name:   what `--arch` takes and the spec's `arch` says
    source: whose layout it is, for people
    build:  places the file's modules in a Draft; raises DoesNotFitError where they are not this family's
    generic: a reading of last resort, marked so
    """

    name: str
    source: str
    build: Callable[[SpecBuilder], None]
    output: Output = "tanh"
    slope: float = 0.0  # of the hidden activations: 0 is ReLU
    bn_eps: float = 1e-5
    prior: Prior = "normal"
    upsample: UpsampleMode = "nearest"
    label_order: LabelOrder = "after"
    other_outputs: tuple[Output, ...] = ()  # last activations that variants with the very same keys have
    generic: bool = False


@dataclass
class SpecBuilder:
    """A reading in the making.  Each method appends layers; `shape` is that of the last value."""

    family: Family
    state: State
    overrides: ReadOptions
    chain: Chain = field(default_factory=Chain)
    keys: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)  # the modules placed, by the file's prefix
    seen: set[str] = field(default_factory=set)  # those that the family asked for, placed or not
    shapes: dict[str, Shape] = field(default_factory=dict)
    assumed: list[Assumption] = field(default_factory=list)
    alternatives: list[AlternativeMatch] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    used_overrides: set[str] = field(default_factory=set)  # the overrides that had something to decide
    classes: int = 0
    range: tuple[float, float] | None = None

    # What the file holds.

    def module(self, path: str) -> Module:
        """The module of that path."""
        found = self.maybe(path)
        if found is None:
            raise DoesNotFitError(f"no {path}", (f"{path}.weight",))
        return found

    def maybe(self, path: str) -> Module | None:
        found = self.state.modules.get(path)
        if found is not None:
            self.seen.add(found.key)
        return found

    def matching(self, pattern: str) -> list[tuple[tuple[str, ...], Module]]:
        """Modules whose whole path matches, with the pattern's groups, in natural order."""
        found = self.state.matching(pattern)
        self.seen.update(m.key for _, m in found)
        return found

    def sequential(self, prefix: str = "") -> list[tuple[int, Module]]:
        """The modules `prefix`0, `prefix`1, ... by index.  Without a prefix, the file is one flat Sequential."""
        found = [(int(i), m) for (i,), m in self.matching(re.escape(prefix) + r"(\d{1,6})")]
        if not found or found[0][0] != 0:
            raise DoesNotFitError(f"no {prefix or 'main.'}0", (f"{prefix or 'main.'}0.weight",))
        if not prefix and len(found) != len(self.state.modules):
            raise DoesNotFitError("not one flat Sequential")
        return found

    def numbered(self, pattern: str, first: tuple[int, ...] = (0,)) -> list[tuple[int, Module]]:
        """The modules whose path is `pattern` with a number for `#`, none missing from one of `first` on."""
        by_number = re.escape(pattern).replace(r"\#", "#").replace("#", r"(\d{1,4})", 1)
        found = [(int(i), m) for (i,), m in self.matching(by_number)]
        numbers = [i for i, _ in found]
        if not found or numbers[0] not in first or numbers != list(range(numbers[0], numbers[0] + len(found))):
            have = set(numbers)
            absent = next(i for i in range(first[0], first[0] + len(found) + 1) if i not in have)
            raise DoesNotFitError(
                f"no {pattern.replace('#', str(absent))}", (f"{pattern.replace('#', str(absent))}.weight",)
            )
        return found

    # What the file doesn't say.

    def choice(self, flag: str, default: Any, what: str, shown: str | None = None) -> Any:
        """The override of that name, or the family's default as a stated assumption (`shown` says it for people)."""
        first = flag not in self.used_overrides
        self.used_overrides.add(flag)
        given = getattr(self.overrides, flag)
        if given is None and first:
            self.assumed.append(Assumption(what, str(default) if shown is None else shown, _flag(flag)))
        return default if given is None else given

    def sizes(self, options: list[tuple[int, Any]], what: str) -> Any:
        """Of several (image size, geometry) that share keys and shapes: the one asked for, else the first."""
        options = list({size: (size, geometry) for size, geometry in reversed(options)}.values())[::-1]
        size, geometry = options[0]
        if len(options) == 1:
            if self.overrides.image_size != size:
                self.assumed.append(Assumption(what, f"the usual ones: {size}x{size} pictures", ""))
            return geometry
        if self.overrides.image_size is not None:
            self.used_overrides.add("image_size")
            fits = [o for o in options if o[0] == self.overrides.image_size]
            if not fits:
                either = " or ".join(str(s) for s, _ in options)
                raise GanExportError(f"--image-size {self.overrides.image_size}: these keys and shapes give {either}")
            return fits[0][1]
        self.assumed.append(Assumption(what, f"{size}x{size} pictures", "--image-size"))
        self.alternatives += [
            AlternativeMatch(f"{s}x{s} pictures, by {what}", f"--image-size {s}") for s, _ in options[1:]
        ]
        return geometry

    # Layers.

    @property
    def last(self) -> str:
        return self.chain.last

    @property
    def shape(self) -> Shape:
        return self.shapes[self.chain.last]

    def add(self, kind: type[Layer], name: str, module: Module | None = None, /, **settings: Any) -> str:
        """Append a layer that owns `module`'s arrays, every one of them; gives its name."""
        self.chain.add(kind, name, **settings)
        layer = self.chain.layers[-1]
        try:
            shape = output_shape(layer, [self.shapes[i] for i in layer.inputs])
        except ValueError as e:
            where = f"{module.key}: " if module else ""
            raise DoesNotFitError(f"{where}{name} {e}") from None
        if any(d < 1 for d in shape) or math.prod(shape) > MOST_VALUES:
            raise DoesNotFitError(f"{name} gives {shape}")
        if module is not None:
            wanted = layer_parameters(layer)
            if wanted != dict(module.arrays):
                raise DoesNotFitError(f"{module.key} is {module}, not {kind.__name__} {wanted['weight']}")
            if module.key in self.used:
                raise DoesNotFitError(f"{module.key} serves twice")
            self.used.add(module.key)
            self.keys.update({f"{name}.{p}": key for p, key in module.keys().items()})
        self.shapes[name] = shape
        return name

    def latent(self, width: int) -> None:
        """The value (width,) that the first layer takes: z alone, or z joined with the label's features."""
        embedding = self.state.embeddings[0] if self.state.embeddings else None
        classes = self.overrides.classes
        if embedding is None and classes is None:
            self._start(width)
            return
        if embedding is not None:
            self.classes, dim = embedding.weight
            self._check_classes(classes)
        else:
            assert classes is not None
            self.classes = dim = classes
            self._check_classes(classes)
            if not 1 <= classes < width:
                raise GanExportError(f"--classes {classes}: the first layer takes {width} features in all")
        if dim > width:
            raise DoesNotFitError(f"the label's {dim} features are more than the first layer takes, {width}")
        self._start(width if dim == width else width - dim)
        self.shapes["label"] = ()
        if embedding is not None:
            label = self.add(Embedding, "embed", embedding, inputs=("label",), classes=self.classes, dim=dim)
        else:
            label = self.add(OneHot, "onehot", inputs=("label",), classes=dim)
        if dim == width:
            self.add(Multiply, "product", inputs=("z", label))
            return
        order = self.choice("label_order", self.family.label_order, "the label's features stand before or after z")
        self.add(Concat, "joined", inputs=("z", label) if order == "after" else (label, "z"))

    def seed(self, first: Module) -> None:
        """The latent as the picture of one pixel that the transposed convolution `first` takes."""
        width = first.transposed[0]
        self.latent(width)
        self.add(Reshape, "seed", shape=(width, 1, 1))

    def conv_transpose(self, name: str, module: Module, stride: int, padding: int, output_padding: int = 0) -> None:
        cin, cout = module.transposed
        self.add(
            ConvTranspose, name, module, in_channels=cin, out_channels=cout, kernel=module.kernel, stride=stride,
            padding=padding, output_padding=output_padding, bias=module.bias,
        )  # fmt: skip

    def conv(self, name: str, module: Module, inputs: tuple[str, ...] | None = None) -> None:
        """Stride 1, padded so that the size stays."""
        cin, cout = module.conv
        k = module.kernel
        if k % 2 == 0:
            raise DoesNotFitError(f"{module.key} has an even kernel, {k}")
        self.add(
            Conv, name, module, inputs=inputs, in_channels=cin, out_channels=cout, kernel=k, padding=k // 2,
            bias=module.bias,
        )  # fmt: skip

    def project(self, module: Module, channels: int, number: str = "") -> None:
        """The first layer, Linear from the latent: (channels, s, s), s being what `channels` leave of its width."""
        self.latent(module.linear[0])
        self.linear(f"fc{number}", module)
        self.picture(channels)

    def picture(self, channels: int) -> None:
        """The last value, flat, as (channels, s, s)."""
        pixels, rest = divmod(self.shape[0], max(channels, 1))
        side = math.isqrt(pixels)
        if rest or side * side != pixels:
            raise DoesNotFitError(f"{self.shape[0]} features make no square picture of {channels} channels")
        self.reshape("grid", (channels, side, side))

    def linear(self, name: str, module: Module) -> None:
        inside, out = module.linear
        self.add(Linear, name, module, in_features=inside, out_features=out, bias=module.bias)

    def batch_norm(self, name: str, module: Module, eps: float | None = None) -> None:
        """`eps` where the family's code surely has another one at this place than elsewhere."""
        channels = module.channels
        if eps is None:
            eps = self.choice("bn_eps", self.family.bn_eps, "BatchNorm's eps")
        self.add(BatchNorm, name, module, channels=channels, eps=eps, affine=bool(module.weight))

    def activation(self, number: int | str, prefix: str = "") -> None:
        """The hidden activation `number`: ReLU, or LeakyReLU by its slope below zero."""
        default = self.family.slope
        shown = f"LeakyReLU {default}" if default else "ReLU (slope 0)"
        slope = self.choice("slope", default, "the hidden activations", shown)
        if slope:
            self.add(Activation, f"{prefix}leaky{number}", kind="leaky_relu", slope=slope)
        else:
            self.add(Activation, f"{prefix}relu{number}", kind="relu")

    def upsample(self, name: str, inputs: tuple[str, ...] | None = None) -> None:
        mode = self.choice("upsample", self.family.upsample, "how pictures are enlarged between layers")
        self.add(Upsample, name, inputs=inputs, factor=2, mode=mode)

    def plus(self, name: str, a: str, b: str) -> None:
        self.add(Add, name, inputs=(a, b))

    def reshape(self, name: str, shape: Shape) -> None:
        self.add(Reshape, name, shape=shape)

    def crop(self, name: str, side: int) -> None:
        """The first `side` rows and columns."""
        self.add(Crop, name, top=0, left=0, height=side, width=side)

    def output(self) -> None:
        """The last activation, and what brings its range to [-1, 1]."""
        if self.overrides.output is None:
            self.alternatives += [
                AlternativeMatch(f"the same keys with {_OUTPUTS[o]} at the end", f"--output {o}")
                for o in self.family.other_outputs
            ]
        match self.choice("output", self.family.output, "the last activation"):
            case "tanh":
                self.add(Activation, "tanh", kind="tanh")
                self.range = (-1.0, 1.0)
            case "sigmoid":
                self.add(Activation, "sigmoid", kind="sigmoid")
                self.range = (0.0, 1.0)
                self.used_overrides.add("raw")
                if not self.overrides.raw:
                    self.add(Scale, "scale", factor=2.0, offset=-1.0)
                    self.range = (-1.0, 1.0)

    # The whole.

    def reading(self) -> Match:
        """What was read, once every module has its place and every override had something to decide."""
        prior = self.choice("prior", self.family.prior, "what latents are drawn from")
        if left := self.left_over():
            raise DoesNotFitError(f"{len(left)} of the arrays have no place")
        shape = self.shape
        if len(shape) != 3 or shape[0] > PICTURE_CHANNELS:
            raise DoesNotFitError(f"the last layer gives {shape}, no picture")
        size = self.overrides.image_size
        if size is not None and "image_size" not in self.used_overrides and shape[1:] != (size, size):
            raise GanExportError(f"--image-size {size}: these keys and shapes give {shape[2]}x{shape[1]} alone")
        for flag, lacks in _NEEDS.items():
            if getattr(self.overrides, flag) is not None and flag not in self.used_overrides:
                raise GanExportError(f"{_flag(flag)}: {self.family.name} as it is in this file has {lacks}")
        if self.overrides.raw and "raw" not in self.used_overrides:
            raise GanExportError(f"--raw: {self.family.name} as it is in this file ends in no sigmoid; leave it out")
        layers = tuple(self.chain)
        spec = GeneratorSpec(
            arch=self.family.name, nz=self.shapes["z"][0], prior=prior, image=shape, range=self.range, layers=layers,
            classes=self.classes,
        )  # fmt: skip
        notes = (*(("a generic reading: no known layout has these keys",) if self.family.generic else ()), *self.notes)
        return Match(
            spec, self.keys, tuple(self.assumed), tuple(self.alternatives), ignored=self.state.counters, notes=notes
        )

    def left_over(self) -> tuple[str, ...]:
        """The file's keys that no layer has."""
        return self._keys_outside(self.used)

    def unknown(self) -> tuple[str, ...]:
        """The file's keys that the family never asked for."""
        return self._keys_outside(self.used | self.seen)

    def _keys_outside(self, known: set[str]) -> tuple[str, ...]:
        modules = (*self.state.modules.values(), *self.state.embeddings)
        return tuple(key for m in modules if m.key not in known for key in m.keys().values())

    def _start(self, nz: int) -> None:
        if not 2 <= nz <= MOST_LATENTS:  # a discriminator read backwards has one
            raise DoesNotFitError(f"a latent of {nz}")
        self.shapes["z"] = (nz,)

    def _check_classes(self, given: int | None) -> None:
        if given is not None:
            self.used_overrides.add("classes")
            if given != self.classes:
                raise GanExportError(f"--classes {given}: the file's label embedding has {self.classes}")


_OUTPUTS: dict[Output, str] = {"tanh": "tanh", "sigmoid": "a sigmoid", "none": "no activation"}
_NEEDS = {
    "bn_eps": "no BatchNorm",
    "slope": "no hidden activation",
    "output": "no choice of a last activation",
    "upsample": "no interpolation",
    "label_order": "no label beside z",
    "classes": "no place for a label",
}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
