"""Put layers in the order of the file's keys, and infer the layers without weights between them.

With few exceptions, a script defines its modules in the order in which it runs them, and a state dict keeps that order.
The numbers in a Sequential's keys say how many layers without weights lie between two layers with weights.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import ConvStage
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError, Module

Kind = Literal["linear", "conv", "convt"]
# Names of the layers through which a block's input takes another way to its output.
_OTHER_WAY = re.compile(r"(^|[._])(\w*(short_?cut|skip|bypass|residual)\w*|(conv_|c_)?sc)([._]|$)", re.IGNORECASE)
_LONGEST_BLOCK = 8  # layers that one skip passes by
_SECOND_INPUT = "a second input, such as a label"


@dataclass(frozen=True, slots=True)
class Gap:
    """A number of layers without weights between two modules.

    least: the number that the keys show
    exact: whether there can be no more; if not, the script's own code may add some
    """

    least: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A layer with weights, with its BatchNorm, if any, and the layers without weights around them.

    active:     whether there is an activation before the layer; None if the keys leave that open
    up:         whether the image is enlarged before the layer; None if the keys leave that open
    norm_first: whether the BatchNorm comes before the activation that follows the layer, as it does in most scripts
    dropped:    the number of layers without weights before the layer that can only be dropouts
    joined:     the index of an earlier step, whose input is joined to what the layer takes; None for most layers
    beside:     whether it takes another input than the first layer: a label, whose features are joined to those of z
    """

    module: Module
    kind: Kind
    norm: Module | None = None
    norm_first: bool = True
    active: bool | None = True
    up: bool | None = False
    dropped: int = 0
    joined: int | None = None
    beside: bool = False

    @property
    def width(self) -> int:
        """Return the layer's number of output features or channels."""
        return _ends(self.module, self.kind)[1]

    @property
    def takes(self) -> int:
        """Return the layer's number of input features or channels."""
        return _ends(self.module, self.kind)[0]


def _ends(module: Module, kind: Kind) -> tuple[int, int]:
    match kind:
        case "linear":
            return module.linear
        case "conv":
            return module.conv
        case "convt":
            return module.transposed


def gap(before: str, after: str) -> Gap:
    """Return the gap between two modules that are defined one after the other, by their paths."""
    a, b = before.split("."), after.split(".")
    shared = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[shared:], b[shared:]
    leading = sum(int(part) for part in b[1:] if part.isdigit())  # in b's own Sequentials, before it
    if not (a and b and a[0].isdigit() and b[0].isdigit()):
        return Gap(leading, False)
    numbered = int(b[0]) - int(a[0]) - 1
    return Gap(max(numbered, 0) + leading, len(a) == 1 and all(part.isdigit() for part in b))


@dataclass
class _Reader:
    """A list of steps that grows by one module at a time."""

    dims: int  # of what the convolutions give

    steps: list[Step] = field(default_factory=list)
    acted: bool = False  # whether the last layer already has its activation
    width: int = 0  # output features or channels of the last layer; 0 before the first

    def norm(self, module: Module, between: Gap) -> None:
        """Add a BatchNorm to the last layer."""
        if not self.steps or self.steps[-1].norm is not None:
            raise DoesNotFitError(f"{module.key} is a BatchNorm that follows no layer")
        last = self.steps[-1]
        flat = last.kind == "linear" and module.channels != last.width
        loose = between.least - (1 if flat and between.exact and between.least else 0)  # one is a reshape
        if loose > 1:
            raise DoesNotFitError(f"{loose} layers without weights come before the BatchNorm {module.key}")
        self.acted = loose == 1
        self.steps[-1] = replace(last, norm=module, norm_first=not self.acted)

    def layer(self, module: Module, between: Gap | None) -> None:
        """Append a layer; `between` is the gap before it, None for the first layer."""
        kind: Kind = "linear" if module.kind == "linear" else self._kind(module)
        joined = self._joined(module) if self.steps and kind == self.steps[-1].kind == "linear" else None
        if self.steps and self.steps[-1].beside:  # both inputs have their own activation
            self._append(Step(module, kind, active=False, joined=joined))
            return
        if between is None:
            self._append(Step(module, kind, active=False))
            return
        reshaped = kind != "linear" and self.steps[-1].kind == "linear"
        loose = between.least
        if reshaped and between.exact and loose and not _on_grid(self.steps[-1]):
            loose -= 1  # one is the reshape: within one Sequential, only a reshape turns features into an image
        if self.acted:
            active: bool | None = False
        elif between.exact:
            active = loose > 0
            loose -= active
        elif reshaped and self.steps[-1].norm is None:
            active = None  # only the script's code says whether an activation follows a projection
        else:
            active = True
            if kind != "conv" and loose:
                loose -= 1  # one is the activation
        up: bool | None = False
        if kind == "conv" and loose:
            up, loose = True, loose - 1
        elif kind == "conv" and active and between.exact and reshaped:
            up = None  # the one layer between them may be an activation or an Upsample
        self._append(Step(module, kind, active=active, up=up, dropped=max(loose, 0), joined=joined))

    def beside(self, module: Module) -> None:
        """Append a layer that takes a second input, and whose output is joined to that of the first layer."""
        first = self.steps[0]
        self._append(Step(module, first.kind, active=False, beside=True))
        self.width += first.width

    def _joined(self, module: Module) -> int | None:
        """Return the step whose input a Linear takes beside the last layer's output: the last one, or the first."""
        extra = module.linear[0] - self.width
        if not extra:
            return None
        for i in (len(self.steps) - 1, 0):
            if extra == self.steps[i].takes:
                return i
        joined = "what is joined to them isn't in the keys" if extra > 0 else f"{_SECOND_INPUT} would explain it"
        raise DoesNotFitError(
            f"{module.key} takes {module.linear[0]} features, but the layer before it gives {self.width}: {joined}"
        )

    def _append(self, step: Step) -> None:
        self.steps.append(step)
        self.acted = False
        self.width = step.width

    def _kind(self, module: Module) -> Kind:
        """Return whether a convolution is transposed, by its input channels, or by its kernel if both kinds fit."""
        fits: list[Kind] = []
        for kind, (inside, out) in (("conv", module.conv), ("convt", module.transposed)):
            bias = not module.bias or module.arrays["bias"][0] == out
            if bias and self._gives(inside):
                fits.append(kind)  # type: ignore[arg-type]
        if not fits:
            why = f"{_SECOND_INPUT}, or a skip connection would explain it"
            if self.width and self.width in (4 * module.conv[0], 4 * module.transposed[0]):
                why = "a PixelShuffle between them would explain it, which generic readings don't have"
            raise DoesNotFitError(f"{module.key} doesn't take the {self.width} channels of the layer before it: {why}")
        if len(fits) == 1:
            return fits[0]
        return "conv" if module.kernel % 2 else "convt"

    def _gives(self, channels: int) -> bool:
        """Return whether the last layer's output can be an image of `channels` channels."""
        if not self.steps:
            return True
        last = self.steps[-1]
        if last.kind != "linear":
            return self.width == channels
        if last.norm is not None and last.norm.channels != self.width:
            return last.norm.channels == channels
        pixels, rest = divmod(self.width, max(channels, 1))
        return not rest and round(pixels ** (1 / self.dims)) ** self.dims == pixels


def _on_grid(step: Step) -> bool:
    """Return whether the BatchNorm of a Linear already normalizes the channels of an image, not features."""
    return step.norm is not None and step.norm.channels != step.width


def steps_in_order(draft: SpecBuilder) -> list[Step]:
    """Return the file's layers in the order of its keys.

    Raises DoesNotFitError that names the first layer which can't follow the one before it.
    """
    refuse_other_ways(draft.state.modules.values())
    reader = _Reader(draft.state.dims)
    before: str | None = None
    beside = _second_input([draft.module(path) for path in draft.state.order])
    for path in draft.state.order:
        module = draft.module(path)
        between = None if before is None else gap(before, path)
        match module.kind:
            case _ if module is beside:
                reader.beside(module)
            case "batchnorm":
                reader.norm(module, between or Gap(0, False))
            case "linear" | "conv":
                reader.layer(module, between)
            case _:
                what = "a norm without running statistics" if module.lacks_statistics else str(module)
                raise DoesNotFitError(f"{module.key} is {what}, which a plain chain doesn't have")
        before = path
    if len(reader.steps) < 2:
        raise DoesNotFitError("the file has fewer than two layers")
    return reader.steps


def _second_input(modules: Sequence[Module]) -> Module | None:
    """Return the second layer if it takes a label beside z, and the third takes both outputs; None if it doesn't.

    All three are Linears, or the first two are 2-D transposed convolutions of one kernel, which take one pixel.
    """
    layers = [m for m in modules if m.kind in ("linear", "conv")][:3]
    if len(layers) < 3 or [m.kind for m in layers] not in (["linear"] * 3, ["conv"] * 3):
        return None
    if layers[0].kind == "conv" and layers[0].dims != 2:
        return None
    kind: Kind = "linear" if layers[0].kind == "linear" else "convt"
    (_, a), (takes, b), (wanted, _) = (_ends(m, kind) for m in layers)
    alike = kind == "linear" or layers[0].kernel == layers[1].kernel
    return layers[1] if alike and wanted == a + b and takes != a else None


def numbered_gaps(draft: SpecBuilder) -> bool:
    """Return whether any two layers lie in one Sequential, so that the keys show the number of layers between them."""
    return any(gap(a, b).exact for a, b in itertools.pairwise(draft.state.order))


def refuse_other_ways(modules: Iterable[Module]) -> None:
    """Raise DoesNotFitError for a layer that lies beside others by its name, such as a block's shortcut."""
    for m in modules:
        if m.kind == "conv" and _OTHER_WAY.search(m.path):
            raise DoesNotFitError(f"{m.key} lies beside other layers by its name, which a plain chain doesn't have")


def possible_sum(draft: SpecBuilder, steps: Sequence[Step]) -> str | None:
    """Return in words the first layers to whose output a script may add their input; None if there are none.

    Within one Sequential there is no sum.  Elsewhere only the script's code shows one, if the widths allow it.
    """
    before = {b: a for a, b in itertools.pairwise(draft.state.order)}
    begins = [i for i, s in enumerate(steps) if i and not gap(before[s.module.path], s.module.path).exact]
    ends = {*begins, len(steps)}
    for first in begins:
        for end in range(first + 1, min(first + _LONGEST_BLOCK, len(steps)) + 1):
            part = steps[first:end]
            alike = len({s.kind for s in part}) == 1 and part[0].kind != "convt"
            if end in ends and alike and part[0].takes == part[-1].width:
                names = [s.module.key for s in part]
                return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    return None


def skip_around(layers: str) -> Assumption:
    """Return the assumption that a script doesn't add the input of some layers to their output."""
    return Assumption(f"a skip around {layers}", "none", "module=", ("its input is added to its output",))


def ways_to_enlarge(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """Yield the steps once per combination: each layer that may be an Upsample or an activation is taken as each."""
    choices = [((True, False), (False, True)) if s.up is None else ((s.up, s.active),) for s in steps]
    for picks in itertools.product(*choices):
        yield tuple(replace(s, active=active, up=bool(up)) for s, (up, active) in zip(steps, picks, strict=True))


def as_stages(steps: Sequence[Step]) -> list[ConvStage]:
    """Return the convolutions among the steps, which come last, as stages."""
    return [
        ConvStage(s.module, s.norm, "conv" if s.kind == "conv" else "convt", up=bool(s.up))
        for s in steps
        if s.kind != "linear"
    ]
