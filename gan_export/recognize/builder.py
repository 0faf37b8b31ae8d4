"""Append layers to a reading: the methods by which a family places the file's modules and states assumptions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gan_export.errors import GanExportError
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
from gan_export.graph.signature import USUAL_SIDE
from gan_export.graph.spec import MOST_LATENTS, MOST_VALUES
from gan_export.graph.words import Output, Slope
from gan_export.recognize import questions
from gan_export.recognize.draft import Draft
from gan_export.recognize.options import AlternativeMatch, Assumption, Compute, Derived
from gan_export.recognize.state_dict import DoesNotFitError, Module


@dataclass
class SpecBuilder(Draft):
    """A reading that is being built.  Each method appends layers; `shape` is the shape of the last value."""

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
