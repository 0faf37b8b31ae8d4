"""Write a spec while reading a state dict: methods by which a family places modules and states assumptions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gan_export.errors import GanExportError, UnusedOptionError, printable
from gan_export.graph.layers import (
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    ConvNd,
    ConvTranspose,
    ConvTransposeNd,
    Crop,
    Elu,
    Embedding,
    Layer,
    Linear,
    Multiply,
    OneHot,
    Reshape,
    Scale,
    Shape,
    Upsample,
    UpsampleNd,
)
from gan_export.graph.ports import Port, Size
from gan_export.graph.signature import USUAL_SIDE, Signature
from gan_export.graph.spec import MOST_LATENTS, MOST_VALUES, Chain, GeneratorSpec
from gan_export.graph.words import LabelOrder, Output, Prior, Slope, UpsampleMode
from gan_export.recognize import questions
from gan_export.recognize.options import AlternativeMatch, Assumption, Compute, Derived, Match, ReadOptions
from gan_export.recognize.state_dict import PICTURE_CHANNELS, DoesNotFitError, Module, State

__all__ = ["DoesNotFitError", "Family", "SpecBuilder"]


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
class SpecBuilder:
    """A reading that is being built.  Each method appends layers; `shape` is the shape of the last value."""

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

    def sizes(self, options: list[tuple[int, Any]], what: str) -> Any:
        """Return the geometry of `image_size`, or else of the first of `options`: (image size, geometry) pairs.

        All of them fit the same keys and shapes.
        """
        first: dict[int, tuple[int, Any]] = {}
        for option in options:
            first.setdefault(option[0], option)
        options = list(first.values())
        size, geometry = options[0]
        if len(options) == 1:
            if self.overrides.image_size != size:
                self.assumed.append(Assumption(what, f"the usual ones: {self._sized(size)}", ""))
            return geometry
        if self.overrides.image_size is not None:
            self.used_overrides.add("image_size")
            fits = [o for o in options if o[0] == self.overrides.image_size]
            if not fits:
                either = " or ".join(str(s) for s, _ in options)
                raise GanExportError(f"image_size={self.overrides.image_size}: these keys and shapes give {either}")
            return fits[0][1]
        instead = tuple("x".join([str(s)] * self.state.dims) for s, _ in options[1:])
        self.assumed.append(Assumption(what, self._sized(size), "image_size=", instead))
        self.alternatives += [
            AlternativeMatch(f"{self._sized(s)}, by {what}", f"image_size={s}") for s, _ in options[1:]
        ]
        return geometry

    def _sized(self, side: int) -> str:
        """Return the size of what a generator gives in words: "64x64 images", "64x64x64 volumes"."""
        kinds = {1: "signals of {0} values", 2: "{0}x{0} images", 3: "{0}x{0}x{0} volumes"}
        return kinds[self.state.dims].format(side)

    # Layers.

    @property
    def last(self) -> str:
        return self.chain.last

    @property
    def shape(self) -> Shape:
        return self.shapes[self.chain.last]

    def add(self, kind: type[Layer], name: str, module: Module | None = None, /, **settings: Any) -> str:
        """Append a layer that owns all arrays of `module`; return its name."""
        self.chain.add(kind, name, **settings)
        layer = self.chain.layers[-1]
        try:
            shape = layer.output_shape(*(self.shapes[i] for i in layer.inputs))
        except ValueError as e:
            where = f"{module.key}: " if module else ""
            raise DoesNotFitError(f"{where}{name} {e}") from None
        if any(d < 1 for d in shape) or math.prod(shape) > MOST_VALUES:
            raise DoesNotFitError(f"{name} gives {shape}")
        if module is not None:
            wanted = layer.parameters()
            if wanted != dict(module.arrays):
                raise DoesNotFitError(f"{module.key} is {module}, not {kind.__name__} {wanted['weight']}")
            if module.key in self.used:
                raise DoesNotFitError(f"{module.key} is used twice")
            self.used.add(module.key)
            self.keys.update({f"{name}.{p}": key for p, key in module.keys().items()})
        self.shapes[name] = shape
        return name

    def latent(self, width: int) -> None:
        """Add the value (width,) that the first layer takes: z, or z joined with the label's features."""
        embedding = self.state.embeddings[0] if self.state.embeddings else None
        classes = self.overrides.classes
        if embedding is not None and embedding.weight[1] == width and self._takes_no_label(embedding):
            embedding, classes = None, None
        if embedding is None and classes is None:
            self.start(width)
            return
        if embedding is not None:
            self.classes, dim = embedding.weight
            self._check_classes(classes)
        else:
            assert classes is not None
            self.classes = dim = classes
            self._check_classes(classes)
            if not 1 <= classes < width:
                raise GanExportError(f"classes={classes}: the first layer takes {width} features in all")
        if dim > width:
            raise DoesNotFitError(f"the label's {dim} features are more than the first layer takes, {width}")
        self.start(width if dim == width else width - dim)
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

    def label_beside(self, nz: int, classes: int) -> str:
        """Start from z (nz,) and a label, neither of which is joined to the other; return the label as one-hot."""
        self.classes = classes
        self._check_classes(self.overrides.classes)
        self.start(nz)
        self.shapes["label"] = ()
        return self.add(OneHot, "onehot", inputs=("label",), classes=classes)

    def takes(self, *ports: Port, **sizes: Size) -> None:
        """Start from these inputs instead of a latent; `sizes` are the values that their free sizes may have.

        `shape` and `shapes` are then those at the usual sizes.
        """
        self.ports, self.free = ports, sizes
        at = {symbol: size.nearest(USUAL_SIDE) for symbol, size in sizes.items()}
        self.shapes.update({port.name: port.dims(at) for port in ports})
        self.chain.last = ports[0].name

    def gives(self, port: Port) -> None:
        """State the output, for example an image of free size or of another range."""
        self.image = port

    def derive(self, parameter: str, keys: tuple[str, ...], shape: Shape, compute: Compute) -> None:
        """State that `layer.param` is computed from the file's arrays `keys` in float64."""
        self.derived[parameter] = Derived(keys, shape, compute)
        self.used_keys.update(keys)

    def seed(self, first: Module) -> None:
        """Add the latent as an image of one pixel, which the transposed convolution `first` takes.

        Or as a volume of one voxel, or a signal of one value, by the dimensions of `first`.
        """
        width = first.transposed[0]
        self.latent(width)
        self.add(Reshape, "seed", shape=(width, *(1,) * first.dims))

    def conv_transpose(self, name: str, module: Module, stride: int, padding: int, output_padding: int = 0) -> None:
        """Append a transposed convolution of as many dimensions as its kernel has."""
        cin, cout = module.transposed
        if module.dims != 2:
            kernel, strides, paddings, extra = (
                (n,) * module.dims for n in (module.kernel, stride, padding, output_padding)
            )
            self.add(
                ConvTransposeNd, name, module, in_channels=cin, out_channels=cout, kernel=kernel, stride=strides,
                padding=paddings, output_padding=extra, bias=module.bias,
            )  # fmt: skip
            return
        self.add(
            ConvTranspose, name, module, in_channels=cin, out_channels=cout, kernel=module.kernel, stride=stride,
            padding=padding, output_padding=output_padding, bias=module.bias,
        )  # fmt: skip

    def conv(self, name: str, module: Module, inputs: tuple[str, ...] | None = None) -> None:
        """Append a convolution of stride 1, padded so that the size stays; it has the dimensions of its kernel."""
        cin, cout = module.conv
        k = module.kernel
        if k % 2 == 0:
            raise DoesNotFitError(f"{module.key} has an even kernel, {k}")
        if module.dims != 2:
            kernel, stride, padding = ((n,) * module.dims for n in (k, 1, k // 2))
            self.add(
                ConvNd, name, module, inputs=inputs, in_channels=cin, out_channels=cout, kernel=kernel, stride=stride,
                padding=padding, bias=module.bias,
            )  # fmt: skip
            return
        self.add(
            Conv, name, module, inputs=inputs, in_channels=cin, out_channels=cout, kernel=k, padding=k // 2,
            bias=module.bias,
        )  # fmt: skip

    def project(self, module: Module, channels: int, number: str = "") -> None:
        """Append the first layer, a Linear from the latent to (channels, s, s), with s from the Linear's width.

        The Linear of a volume gives (channels, s, s, s), and that of a signal (channels, s).
        """
        self.latent(module.linear[0])
        self.linear(f"fc{number}", module)
        self.picture(channels)

    def picture(self, channels: int) -> None:
        """Reshape the last value, a row, to (channels, s, s), or as `project` says."""
        pixels, rest = divmod(self.shape[0], max(channels, 1))
        dims = self.state.dims
        side = round(pixels ** (1 / dims))
        if rest or side**dims != pixels:
            shape = {1: "a signal", 2: "a square image", 3: "a cube"}[dims]
            raise DoesNotFitError(f"{self.shape[0]} features are not {shape} of {channels} channels")
        self.reshape("grid", (channels, *(side,) * dims))

    def linear(self, name: str, module: Module) -> None:
        inside, out = module.linear
        self.add(Linear, name, module, in_features=inside, out_features=out, bias=module.bias)

    def batch_norm(self, name: str, module: Module, eps: float | None = None) -> None:
        """Append a BatchNorm; `eps` if the family's code has a special one in this place."""
        if eps is None or isinstance(self.overrides.bn_eps, tuple):
            eps = self.each("bn_eps", self.family.bn_eps, "BatchNorm's eps")
        self.add(BatchNorm, name, module, channels=module.channels, eps=float(eps), affine=bool(module.weight))

    def activation(self, number: int | str, prefix: str = "") -> None:
        """Append the hidden activation `number`: ReLU if the slope is 0, ELU, or LeakyReLU."""
        default = self.family.slope
        slope: Slope = self.each("slope", default, "the hidden activations", questions.word("slope", default))
        if slope == "elu":
            self.add(Elu, f"{prefix}elu{number}")
        elif slope:
            self.add(Activation, f"{prefix}leaky{number}", kind="leaky_relu", slope=float(slope))
        else:
            self.add(Activation, f"{prefix}relu{number}", kind="relu")

    def first_activation(self) -> None:
        """Append an activation behind the first Linear, if `first_activation` is "on"."""
        if self.choice("first_activation", "off", "the activation behind the first Linear", "none") == "on":
            self.activation("", "fc_")

    def upsample(self, name: str, inputs: tuple[str, ...] | None = None) -> None:
        mode = self.choice("upsample", self.family.upsample, "the interpolation between layers")
        if (dims := len(self.shape if inputs is None else self.shapes[inputs[0]]) - 1) != 2:
            self.add(UpsampleNd, name, inputs=inputs, factor=(2,) * dims, mode="linear" if mode == "bilinear" else mode)
            return
        self.add(Upsample, name, inputs=inputs, factor=2, mode=mode)

    def plus(self, name: str, a: str, b: str) -> None:
        self.add(Add, name, inputs=(a, b))

    def reshape(self, name: str, shape: Shape) -> None:
        self.add(Reshape, name, shape=shape)

    def crop(self, name: str, side: int) -> None:
        """Keep the first `side` rows and columns."""
        self.add(Crop, name, top=0, left=0, height=side, width=side)

    def output(self, prefix: str = "") -> None:
        """Append the last activation, and a scale to [-1, 1] if needed; `prefix` begins their names.

        Volumes end in a sigmoid unless `output` says otherwise, and stay in [0, 1].
        """
        volume = len(self.shape) == 4
        default: Output = "sigmoid" if volume else self.family.output
        if self.overrides.output is None and "output" not in self.used_overrides:
            self.alternatives += [
                AlternativeMatch(f"the same keys with {_OUTPUTS[o]} at the end", f"output={o}")
                for o in self.family.other_outputs
            ]
        match self.choice("output", default, "the last activation"):
            case "tanh":
                self.add(Activation, f"{prefix}tanh", kind="tanh")
                self.range = (-1.0, 1.0)
            case "sigmoid":
                self.add(Activation, f"{prefix}sigmoid", kind="sigmoid")
                self.range = (0.0, 1.0)
                self.used_overrides.add("raw")
                if not self.overrides.raw and not volume:
                    self.add(Scale, f"{prefix}scale", factor=2.0, offset=-1.0)
                    self.range = (-1.0, 1.0)

    # The complete reading.

    def reading(self) -> Match:
        """Return the reading.

        Raises DoesNotFitError if a module has no place, and UnusedOptionError if an override decided nothing.
        """
        prior = self.family.prior
        if not self.ports:
            prior = self.choice("prior", self.family.prior, "the distribution of the latents")
        if left := self.left_over():
            raise DoesNotFitError(f"{len(left)} of the arrays have no place")
        shape = self.shape
        if len(shape) not in (2, 3, 4) or shape[0] > PICTURE_CHANNELS:
            raise DoesNotFitError(f"the last layer gives {shape}, not an image, a volume or a signal")
        size = self.overrides.image_size
        if size is not None and "image_size" not in self.used_overrides and set(shape[1:]) != {size}:
            only = "x".join(map(str, reversed(shape[1:])))
            raise GanExportError(f"image_size={size}: these keys and shapes give only {only}")
        for option, lacks in _NEEDS.items():
            if getattr(self.overrides, option) is not None and option not in self.used_overrides:
                raise UnusedOptionError(f"{option}=: {self.family.name} as it is in this file has {lacks}")
            given = getattr(self.overrides, option) if option in _PER_LAYER else None
            if isinstance(given, tuple) and self.placed.get(option, 0) != len(given):
                raise GanExportError(
                    f"{option}=: {len(given)} values, this generator has {self.placed.get(option, 0)} such layers"
                )
        if self.overrides.psi_input and "psi_input" not in self.used_overrides:
            raise GanExportError(f"psi_input=True: {self.family.name} as it is in this file has no w to truncate")
        if self.overrides.raw and "raw" not in self.used_overrides:
            raise GanExportError(f"raw=True: {self.family.name} as it is in this file ends in no sigmoid; leave it out")
        spec = GeneratorSpec(self.family.name, self._signature(prior), tuple(self.chain), tuple(self.images.values()))
        if self.first_part:
            spec = self._first_part(spec.signature)
        notes = (*(("a generic reading: no known layout has these keys",) if self.family.generic else ()), *self.notes)
        wanted = spec.parameters()
        keys = {p: key for p, key in self.keys.items() if p in wanted}
        derived = {p: how for p, how in self.derived.items() if p in wanted}
        return Match(
            spec, keys, tuple(self.assumed), tuple(self.alternatives),
            ignored=(*self.state.counters, *self.idle), notes=notes,
            derived=derived, chosen=self.chosen, settled=self.settled,
        )  # fmt: skip

    def _first_part(self, whole: Signature) -> GeneratorSpec:
        """Return the spec of the part "mapping": the layers from z to ws."""
        layers = tuple(self.chain)[: self.first_part]
        rows = Port("ws", "values", self.shapes[layers[-1].name])
        return GeneratorSpec(self.family.name, Signature(whole.inputs, (rows,)), layers)

    def _signature(self, prior: Prior) -> Signature:
        if self.ports:
            image = self.image or Port("image", "image", self.shape, range=self.range)
            free = Signature(self.ports, (image,), self.free)
            return free if self.overrides.size is None else free.fixed(self._fixed_sizes(self.overrides.size))
        if self.overrides.size is not None:
            raise GanExportError(f"size=: {self.family.name} has images of one size; leave it out")
        one = Signature.of_latent(self.shapes["z"][0], prior, self.shape, self.classes, self.range)
        if not self.images:
            return one
        outputs = tuple(replace(one.outputs[0], name=name) for name in self.images)
        return Signature(one.inputs, outputs)

    def _fixed_sizes(self, text: str) -> dict[str, int]:
        """Return the height and width of `size`, "HxW"."""
        match = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
        if match is None or set(self.free) != {"H", "W"}:
            raise GanExportError(f"size={printable(text, 40)}: a height and a width, such as 256x512")
        return {"H": int(match[1]), "W": int(match[2])}

    def left_over(self) -> tuple[str, ...]:
        """Return the file's keys that no layer has."""
        return self._keys_outside(self.used)

    def nearness(self) -> float:
        """Return the mean of two shares of the file's keys, 0 to 1: of keys placed, and of keys placed or looked up."""
        absent = len(self.left_over()) + len(self._keys_outside(self.used | self.named))
        return 1 - absent / (2 * max(self.state.size, 1))

    def unknown(self) -> tuple[str, ...]:
        """Return the file's keys that the family never looked up."""
        return self._keys_outside(self.used | self.seen)

    def _keys_outside(self, known: set[str]) -> tuple[str, ...]:
        modules = (*self.state.modules.values(), *self.state.embeddings)
        keys = [key for m in modules if m.key not in known for key in m.keys().values()]
        return tuple(key for key in (*keys, *sorted(self.state.scalars)) if key not in self.used_keys)

    def start(self, nz: int) -> None:
        """Take z (nz,) as an input."""
        if not 2 <= nz <= MOST_LATENTS:  # 1 would be a discriminator, read backwards
            raise DoesNotFitError(f"a latent of {nz}")
        self.shapes["z"] = (nz,)

    def _takes_no_label(self, embedding: Module) -> bool:
        """Return whether `classes=0` states that the network never reads the embedding that the file has."""
        if self.overrides.classes != 0:
            if self.overrides.classes is None:
                instead = (questions.word("classes", 0),)
                self.assumed.append(Assumption("the label embedding", "multiplied with z", "classes=0", instead))
            return False
        self.used_overrides.add("classes")
        self.used.add(embedding.key)
        self.idle += embedding.keys().values()
        return True

    def _check_classes(self, given: int | None) -> None:
        if given is not None:
            self.used_overrides.add("classes")
            if given != self.classes:
                raise GanExportError(f"classes={given}: the file's label has {self.classes}")


_OUTPUTS: dict[Output, str] = {"tanh": "tanh", "sigmoid": "a sigmoid", "none": "no activation"}
_NEEDS = {
    "bn_eps": "no BatchNorm",
    "slope": "no hidden activation",
    "first_activation": "no place behind a first Linear",
    "output": "no choice of a last activation",
    "upsample": "no interpolation",
    "label_order": "no label beside z",
    "norm": "no choice of BatchNorm's statistics",
    "dropout": "no dropout that its keys or its family show",
    "classes": "no place for a label",
    "psi": "no w to truncate, and no statistics by truncation",
    "cutoff": "no w to truncate",
    "input": "no choice of inputs",
    "part": "no two parts, from z to w and from w to an image",
    "noise": "no noise",
    "translate": "no Fourier features to move",
    "rotate": "no Fourier features to turn",
}
_PER_LAYER = ("bn_eps", "slope")  # options that may have a value for each layer
