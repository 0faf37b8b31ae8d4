"""Apply the settings of a pickled module to its reading: strides, eps, and the layers without weights.

If a spec has no place for a setting, the file is refused with the layer's name, because its keys and shapes would be
read as another network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from gan_export.checkpoint.pickled_modules import Leaf, PickledModule
from gan_export.errors import GanExportError, printable
from gan_export.graph.layers import (
    Activation,
    BatchNorm,
    Conv,
    ConvTranspose,
    Crop,
    Elu,
    Embedding,
    Layer,
    Linear,
    Reshape,
    Scale,
    Shape,
    Upsample,
)
from gan_export.graph.signature import Signature
from gan_export.graph.spec import MOST_VALUES, GeneratorSpec
from gan_export.graph.words import ActivationKind, FirstActivation, Output, UpsampleMode
from gan_export.recognize import ARCHS
from gan_export.recognize.conv_stack import ENLARGED, GEOMETRY
from gan_export.recognize.options import Match, ReadOptions

_NEUTRAL = (
    "Identity", "Flatten", "Unflatten", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout",
    "FeatureAlphaDropout", "Sequential", "ModuleList", "ModuleDict", "Module", "ParameterList", "ParameterDict",
)  # fmt: skip
_ACTIVATIONS: dict[str, ActivationKind] = {
    "ReLU": "relu", "LeakyReLU": "leaky_relu", "Tanh": "tanh", "Sigmoid": "sigmoid",
}  # fmt: skip
_HIDDEN = (*_ACTIVATIONS, "ELU")
_UPSAMPLING = ("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d")
_OWNED: dict[type, tuple[str, ...]] = {
    ConvTranspose: ("ConvTranspose2d",), Conv: ("Conv2d",), Linear: ("Linear", "NonDynamicallyQuantizableLinear"),
    BatchNorm: ("BatchNorm1d", "BatchNorm2d", "SyncBatchNorm"), Embedding: ("Embedding",),
}  # fmt: skip
_BETWEEN = (Activation, Elu, Upsample)  # layers between two with weights; a state dict doesn't have them
_LARGEST = 1 << 12  # of a stride or a padding


def final_activation(module: PickledModule, reading: Match, homes: Mapping[str, str]) -> Output | None:
    """Return the last activation of the module, or None if its own code, which isn't read, may apply one."""
    owners = [la.name for la in reading.spec.layers if la.parameters()]
    if owners[-1] not in homes:
        return None
    _, after, ended = _around(module, homes[owners[-1]])
    found = [leaf for leaf in after if leaf.kind in _HIDDEN]
    if not found and ended and not module.whole:
        loose = {leaf.kind for leaf in module.loose if leaf.kind in ("Tanh", "Sigmoid")}
        return {"Tanh": "tanh", "Sigmoid": "sigmoid"}.get(loose.pop()) if len(loose) == 1 else None  # type: ignore[return-value]
    if not found:
        return "none" if ended else None
    if len(found) == 1 and found[0].kind in ("Tanh", "Sigmoid"):
        return "tanh" if found[0].kind == "Tanh" else "sigmoid"
    raise _no_place(found[0], "at the end")


def first_activation(module: PickledModule, reading: Match, homes: Mapping[str, str]) -> FirstActivation | None:
    """Return the activation after the module's first Linear, "none" if there is none.

    Return None if the reading has no such choice, or if the module's own code, which isn't read, may apply one.
    """
    if not any(a.option == "first_activation=" for a in reading.assumed):
        return None
    linear = next(la.name for la in reading.spec.layers if isinstance(la, Linear) and la.name in homes)
    _, after, _ = _around(module, homes[linear])
    return "on" if any(leaf.kind in _HIDDEN for leaf in after) else None


def apply_module_config(
    module: PickledModule, reading: Match, homes: Mapping[str, str], overrides: ReadOptions
) -> Match:
    """Return the reading with the module's own settings.  homes: name of a layer with weights -> its path.

    Raises GanExportError, with the layer's name, for a setting without a place in the spec, or one that contradicts an
    option of the user.
    """
    pooled_side = next((family.pooled_side for family in ARCHS if family.name == reading.spec.arch), 0)
    for one in module.leaves.values():
        _check_kind(one, pooled_side)
    at = reading.spec.signature.usual_sizes()
    shapes: dict[str, Shape] = {port.name: port.dims(at) for port in reading.spec.signature.inputs}
    between = _between(module, reading.spec, homes, overrides)
    layers: list[Layer] = []
    unknown_settings: set[str] = set()  # settings that the class or place of a layer doesn't show
    for la in reading.spec.layers:
        leaf = module.leaves.get(homes.get(la.name, "\0"))
        changed = la
        if leaf is not None:
            changed = _with_weights(la, leaf, shapes[la.inputs[0]], overrides, unknown_settings)
        elif isinstance(la, _BETWEEN):
            changed = _without(la, between.get(la.name), module, overrides, unknown_settings)
        try:
            shapes[la.name] = changed.output_shape(*(shapes[i] for i in changed.inputs))
        except ValueError as e:
            raise GanExportError(
                f"{_where(leaf)}{la.name} ({type(la).__name__}) {e}: read as another network"
            ) from None
        if any(d < 1 for d in shapes[la.name]) or math.prod(shapes[la.name]) > MOST_VALUES:
            raise GanExportError(f"{_where(leaf)}{la.name} gives {shapes[la.name]}, not an image")
        _check_size(between.get(la.name), shapes[la.name])
        layers.append(changed)
    image = shapes[layers[-1].name]
    if len(image) != 3:
        raise GanExportError(f"the last layer gives {image}, not an image")
    size = overrides.image_size
    if size is not None and image[1:] != (size, size):
        raise GanExportError(f"image_size={size}: the module generates images of {image[2]}x{image[1]}; leave it out")
    spec = replace(reading.spec, layers=tuple(layers), signature=_giving(reading.spec.signature, image))
    known = {"bn_eps=", "slope=", "upsample=", GEOMETRY, ENLARGED} - unknown_settings
    assumed = tuple(a for a in reading.assumed if a.option not in known and a.what not in known)
    also = tuple(a for a in reading.alternatives if not a.option.startswith("image_size="))
    return replace(reading, spec=spec, assumed=assumed, alternatives=also, notes=(*reading.notes, *_own_code(module)))


def _giving(signature: Signature, image: Shape) -> Signature:
    """Return the signature with an image of this shape, or unchanged if its image has free sizes."""
    (port,) = signature.outputs
    return signature if port.symbols else replace(signature, outputs=(replace(port, shape=image),))


def describe_changes(spec: GeneratorSpec, before: GeneratorSpec) -> str:
    """Return, in words, the module's settings that differ from the assumed ones; "" if none do."""
    words: list[str] = []
    eps = sorted({la.eps for la in spec.layers if isinstance(la, BatchNorm)})
    if eps and [la.eps for la in spec.layers if isinstance(la, BatchNorm)] != [
        la.eps for la in before.layers if isinstance(la, BatchNorm)
    ]:
        words.append(f"bn_eps {', '.join(map(str, eps))}")
    if _hidden(spec) != _hidden(before):
        words.append(f"slope {', '.join(dict.fromkeys(map(str, _hidden(spec))))}")
    if _modes(spec) != _modes(before):
        words.append(f"upsample {', '.join(sorted(set(_modes(spec))))}")
    if spec.signature.outputs != before.signature.outputs:
        _, height, width = spec.signature.outputs[0].shape
        words.append(f"images of {width}x{height}")
    return ", ".join(words)


def _hidden(spec: GeneratorSpec) -> list[float | str]:
    """Return the slopes of the hidden activations, or their kinds."""
    found = [la for la in spec.layers if isinstance(la, Activation | Elu) and la.name not in _ENDS]
    return [
        "elu" if isinstance(la, Elu) else la.slope if la.kind in ("relu", "leaky_relu") else la.kind for la in found
    ]


_ENDS = ("tanh", "sigmoid")  # names of the last activation in a Draft


def _modes(spec: GeneratorSpec) -> list[str]:
    return [la.mode for la in spec.layers if isinstance(la, Upsample)]


def _check_kind(leaf: Leaf, pooled_side: int) -> None:
    """Raise GanExportError for a module of torch that changes values and has no place in a spec.

    pooled_side: what the family's own pooling gives, 0 if it has none.
    """
    if leaf.tensors or not leaf.own or leaf.kind in _NEUTRAL or leaf.kind.endswith("Loss"):
        return
    if leaf.kind in _UPSAMPLING:
        mode = leaf.settings.get("mode", "nearest")
        if mode not in ("nearest", "bilinear") or (mode == "bilinear" and leaf.settings.get("align_corners") is True):
            corners = ", align_corners" if mode == "bilinear" else ""
            raise GanExportError(f"{_at(leaf)} enlarges by {_shown(mode)}{corners}, {_UNREAD}")
    elif leaf.kind == "AdaptiveAvgPool2d" and pooled_side:
        if (side := _square(leaf, "output_size", 1)) != pooled_side:
            raise GanExportError(f"{_at(leaf)} pools to {side}x{side}, not to {pooled_side}x{pooled_side}, {_UNREAD}")
    elif leaf.kind not in _HIDDEN:
        raise _no_place(leaf)


_UNREAD = "which no supported generator has; export its own torch.nn.Module (module=PKG.MOD:CLASS)"


def _no_place(leaf: Leaf, where: str = "") -> GanExportError:
    return GanExportError(f"{_at(leaf)} is {printable(leaf.kind, 40)}{' ' if where else ''}{where}, {_UNREAD}")


def _at(leaf: Leaf) -> str:
    return printable(leaf.path, 80) or "the module"


def _where(leaf: Leaf | None) -> str:
    return f"{_at(leaf)}: " if leaf else ""


def _shown(value: object) -> str:
    """Return a setting as text; a value that isn't plain can be of any depth, and isn't shown."""
    parts = value if isinstance(value, tuple) else (value,)
    plain = len(parts) < 8 and all(isinstance(v, str | float | int) or v is None for v in parts)
    return printable(str(value), 40) if plain else "not a plain value"


def _mode(leaf: Leaf) -> UpsampleMode:
    return "bilinear" if leaf.settings.get("mode") == "bilinear" else "nearest"  # others are refused


def _with_weights(la: Layer, leaf: Leaf, given: Shape, overrides: ReadOptions, unknown_settings: set[str]) -> Layer:
    """Return the layer with the module's settings."""
    if leaf.own and leaf.kind not in _OWNED.get(type(la), ()):
        raise GanExportError(
            f"{_at(leaf)} is {printable(leaf.kind, 40)}, but was read as {type(la).__name__}: not a known network"
        )
    s = leaf.settings
    match la:
        case ConvTranspose() | Conv() if isinstance(transposed := s.get("transposed"), bool):
            if transposed != isinstance(la, ConvTranspose):
                what = "a transposed convolution" if transposed else "a convolution"
                raise GanExportError(f"{_at(leaf)} is {what}, but was read as {type(la).__name__}")
            for name, usual in (("dilation", 1), ("groups", 1)):
                if (value := _square(leaf, name, usual)) != usual:
                    raise GanExportError(f"{_at(leaf)} has a {name} of {value}, {_UNREAD}")
            if (mode := s.get("padding_mode", "zeros")) != "zeros":
                raise GanExportError(f"{_at(leaf)} has the padding mode {_shown(mode)}, {_UNREAD}")
            stride = _square(leaf, "stride", 1)
            words = {"same": la.kernel // 2, "valid": 0}
            padding = words[word] if (word := s.get("padding")) in ("same", "valid") else _square(leaf, "padding", 0)
            if isinstance(la, Conv):
                return replace(la, stride=stride, padding=padding)
            extra = _square(leaf, "output_padding", 0)
            if given[1:] == (1, 1) and not extra:
                stride = la.stride  # has no effect on one pixel
            return replace(la, stride=stride, padding=padding, output_padding=extra)
        case ConvTranspose() | Conv():
            unknown_settings.update((GEOMETRY, ENLARGED))
        case BatchNorm() if overrides.bn_eps is None and "eps" in s:
            eps = _number(s["eps"])
            if eps is None or eps <= 0:
                raise GanExportError(f"{_at(leaf)} has an eps of {_shown(s['eps'])}; it must be above 0")
            return replace(la, eps=eps)
        case BatchNorm() if overrides.bn_eps is None:
            unknown_settings.add("bn_eps=")
        case Embedding() if s.get("max_norm") is not None:
            raise GanExportError(f"{_at(leaf)} is an Embedding with max_norm, {_UNREAD}")
    return la


def _square(leaf: Leaf, name: str, usual: int) -> int:
    value = leaf.settings.get(name, usual)
    parts = value if isinstance(value, tuple) and value else (value,)
    one = parts[0]
    if type(one) is not int or any(type(v) is not int or v != one for v in parts) or not 0 <= one <= _LARGEST:
        raise GanExportError(f"{_at(leaf)} has a {name} of {_shown(value)}, {_UNREAD}")
    return one


def _without(
    la: Activation | Elu | Upsample,
    leaf: Leaf | None,
    module: PickledModule,
    overrides: ReadOptions,
    unknown_settings: set[str],
) -> Layer:
    """Return a layer without weights with the module's settings: by its place, or those that all loose ones share."""
    if isinstance(la, Upsample):
        found = [leaf] if leaf else [one for one in module.loose if one.kind in _UPSAMPLING]
        modes = {_mode(one) for one in found}
        if overrides.upsample is not None:
            return la
        if len(modes) > 1:
            raise GanExportError(
                f"{la.name}: the module has several interpolations, and its code says where; set upsample="
            )
        if not modes:
            unknown_settings.add("upsample=")
        if leaf and (times := leaf.settings.get("scale_factor")) is not None:
            times = times[0] if isinstance(times, tuple) and times else times
            if times != la.factor:
                raise GanExportError(f"{_at(leaf)} has scale_factor {_shown(times)}; it must be {la.factor}")
        return replace(la, mode=modes.pop()) if modes else la
    if la.name in _ENDS:
        return la
    if overrides.slope is not None and (leaf is None or leaf.kind in ("ReLU", "LeakyReLU")):
        return la
    if leaf is not None:
        return _activation(la, leaf)
    kinds = {_activation(la, one) for one in module.loose if one.kind in ("ReLU", "LeakyReLU", "ELU")}
    if len(kinds) > 1:
        raise GanExportError(f"{la.name}: the module has several activations, and its code says where; set slope=")
    if not kinds:
        unknown_settings.add("slope=")
    return next(iter(kinds), la)


def _activation(la: Activation | Elu, leaf: Leaf) -> Activation | Elu:
    """Return the module's activation at the place of `la`."""
    if leaf.kind != "ELU":
        return Activation(la.name, la.inputs, _kind(leaf), _slope(leaf))
    alpha = _number(value := leaf.settings.get("alpha", 1.0))
    if alpha is None:
        raise GanExportError(f"{_at(leaf)} has an alpha of {_shown(value)}; it must be a number")
    return Elu(la.name, la.inputs, alpha)


def _kind(leaf: Leaf) -> ActivationKind:
    return "relu" if leaf.kind == "LeakyReLU" and not _slope(leaf) else _ACTIVATIONS[leaf.kind]


def _slope(leaf: Leaf) -> float:
    if leaf.kind != "LeakyReLU":
        return 0.0
    slope = _number(value := leaf.settings.get("negative_slope", 0.01))
    if slope is None or not 0 <= slope <= 1:
        raise GanExportError(f"{_at(leaf)} has a slope of {_shown(value)}; it must be 0 to 1")
    return slope


def _number(value: object) -> float | None:
    """Return the value if it is a finite number, else None."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    return float(value) if type(value) is int and abs(value) < 1 << 62 else None


def _check_size(leaf: Leaf | None, shape: Shape) -> None:
    if leaf and leaf.kind in _UPSAMPLING and (size := leaf.settings.get("size")) is not None:
        sides = size if isinstance(size, tuple) else (size, size)
        if sides != shape[1:]:
            raise GanExportError(f"{_at(leaf)} has size {_shown(size)}, but was read with {shape[1:]}")


# -- places in a Sequential


def _around(module: PickledModule, path: str) -> tuple[list[Leaf], list[Leaf], bool]:
    """Return the modules directly before and after a layer with weights in a Sequential, and whether it ends there.

    A module of the file's own class also ends it: its code isn't read.
    """
    if path not in module.places:
        return [], [], True
    number, at = module.places[path]
    sequence = module.sequences[number]
    before, _ = _run(module, (sequence[i] for i in range(at - 1, -1, -1)))
    after, ended = _run(module, (sequence[i] for i in range(at + 1, len(sequence))))
    return before[::-1], after, ended


def _run(module: PickledModule, paths: Iterable[str]) -> tuple[list[Leaf], bool]:
    """Return the modules that change values up to the next layer with weights, and whether no such layer follows."""
    found: list[Leaf] = []
    for path in paths:
        leaf = module.leaves.get(path)
        if leaf is None:  # a part with code of its own
            return found, True
        if leaf.tensors:
            return found, False
        if leaf.own and (leaf.kind in _HIDDEN or leaf.kind in _UPSAMPLING):
            found.append(leaf)
    return found, True


def _between(
    module: PickledModule, spec: GeneratorSpec, homes: Mapping[str, str], overrides: ReadOptions
) -> dict[str, Leaf]:
    """Return the module of each activation and interpolation of the spec, found by its place in a Sequential.

    Raises GanExportError if a module of another kind is there.
    """
    readers: dict[str, list[Layer]] = {}
    givers = {la.name: la for la in spec.layers}
    for la in spec.layers:
        for name in la.inputs:
            readers.setdefault(name, []).append(la)
    found: dict[str, Leaf] = {}
    for name, path in homes.items():
        before, after, ended = _around(module, path)
        ours = _follow(givers[name], lambda la: readers.get(la.name, []))
        if overrides.output is not None and ended and name == list(homes)[-1]:
            after = after[: len(ours)]  # the user chose the last activation
        _pair(found, path, ours, after, whole=not ended)
        _pair(
            found, path, _follow(givers[name], lambda la: [givers[i] for i in la.inputs if i in givers]), before[::-1]
        )
    return found


def _follow(start: Layer, step: Callable[[Layer], list[Layer]]) -> list[Layer]:
    """Return the layers between `start` and the next with weights, up to one that several layers use."""
    chain: list[Layer] = []
    here = start
    while len(following := step(here)) == 1:
        here = following[0]
        if here.parameters() or not isinstance(here, (*_BETWEEN, Reshape, Crop, Scale)):
            break
        if isinstance(here, _BETWEEN):
            chain.append(here)
    return chain


def _pair(found: dict[str, Leaf], path: str, ours: list[Layer], theirs: list[Leaf], whole: bool = False) -> None:
    """Pair the spec's layers with the module's.  whole: False if the module's own code may add further layers."""
    for la, leaf in zip(ours, theirs, strict=False):
        if isinstance(la, Upsample) != (leaf.kind in _UPSAMPLING):
            raise GanExportError(f"{_at(leaf)} is {leaf.kind}, but was read as {la.name}: not a known network")
        found[la.name] = leaf
    if len(theirs) > len(ours):
        raise _no_place(theirs[len(ours)], f"beside {printable(path, 60)}")
    if whole and len(ours) > len(theirs):
        raise GanExportError(
            f"{printable(path, 80)}: no {ours[len(theirs)].name} follows it in the module: not a known network"
        )


def _own_code(module: PickledModule) -> tuple[str, ...]:
    """Return notes on layers of the file's own classes, and on hooks."""
    strange = [leaf for leaf in module.leaves.values() if not leaf.own]
    names = ", ".join(dict.fromkeys(f"{_at(leaf)} ({printable(leaf.kind, 40)})" for leaf in strange[:4]))
    hooked = ", ".join(
        dict.fromkeys(
            f"{printable(path, 80) or 'the module'} ({printable(hook, 60)})" for path, hook in module.hooks[:4]
        )
    )
    notes = (
        (names, "classes of the file's own, whose code isn't read; assumed to be torch's, or only to reshape"),
        (hooked, "hooks, whose code isn't read; assumed to change nothing"),
    )
    return tuple(f"{where}: {what}" for where, what in notes if where)
