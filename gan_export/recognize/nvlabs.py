"""What NVlabs' StyleGAN2 and StyleGAN3 share: layers held against what the pickle says of them, and the mapping."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping as Table
from dataclasses import replace
from typing import Any

from gan_export.errors import GanExportError, printable
from gan_export.graph.layers import Shape
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError, Module
from gan_export.recognize.style_parts import Dense, Label, Mapping

CLAMP = 256.0  # of both trees' training scripts
MAPPING_RATE = 0.01
LARGEST = 1e9  # of a pickle's numbers


class NvlabsFile:
    """The file's modules, each held against what the pickle says of it."""

    def __init__(self, draft: SpecBuilder) -> None:
        self.draft = draft
        config = draft.state.config  # of a TensorFlow file, which has no settings of its own for each layer
        self.from_tensorflow = not draft.state.settings and "source" in config
        self.rate = number(config, "its config", "mapping_lrmul", MAPPING_RATE)

    def arrays(self, path: str, *names: str, optional: tuple[str, ...] = ()) -> Module:
        """The module at `path`, which has just these arrays."""
        module = self.draft.module(path)
        have = set(module.arrays)
        if missing := set(names) - have:
            raise DoesNotFitError(f"no {path}.{min(missing)}", tuple(f"{path}.{n}" for n in sorted(missing)))
        if extra := have - set(names) - set(optional):
            raise DoesNotFitError(f"{printable(path, 80)}.{printable(min(extra), 40)} has no place")
        self.draft.used.add(module.key)
        return module

    def dense(self, path: str, rate: float, active: bool) -> Dense:
        """A FullyConnectedLayer."""
        module = self.arrays(path, "weight", "bias")
        inside, out = module.linear
        if module.arrays["bias"] != (out,):
            raise DoesNotFitError(f"{path} is {module}")
        activation = "lrelu" if active else "linear"
        settings = self.draft.settings(module.key, "FullyConnectedLayer", activation=activation)
        gain = number(settings, path, "weight_gain", rate / math.sqrt(inside))
        bias_gain = number(settings, path, "bias_gain", rate)
        return Dense(f"{module.key}.weight", f"{module.key}.bias", (out, inside), gain, bias_gain, active)

    def conv(
        self, path: str, kind: str, kernel: int, names: tuple[str, ...], **known: Any
    ) -> tuple[Shape, Table[str, Any]]:
        """Return (shape of the weight, settings in the pickle) of a layer with a convolution."""
        module = self.arrays(path, *names, optional=("noise_const",))
        shape = module.weight
        if len(shape) != 4 or shape[2:] != (kernel, kernel):
            raise DoesNotFitError(f"{path} is {module}, not a convolution of {kernel}x{kernel}")
        if "bias" in names and module.arrays["bias"] != (shape[0],):
            raise DoesNotFitError(f"{path} is {module}")
        if module.arrays.get("resample_filter", (4, 4)) != (4, 4):
            raise DoesNotFitError(f"{path}.resample_filter is {module.arrays['resample_filter']}, not (4, 4)")
        return shape, self.draft.settings(module.key, kind, **known)


def number(settings: Table[str, Any], path: str, name: str, default: float | None) -> float:
    """A finite number that a pickle states, else the default."""
    value = settings.get(name, default)
    if isinstance(value, int) and abs(value) > LARGEST:  # it may have no decimal digits, and no float
        value = math.inf if value > 0 else -math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise GanExportError(f"{path} says {name} {printable(str(value), 40)}: not a number that is read")
    return float(value)


def limit_of(file: NvlabsFile, settings: Table[str, Any], path: str, gain: float = 1.0) -> float | None:
    """conv_clamp, of a layer whose result has that gain."""
    config = file.draft.state.config if file.from_tensorflow else {}
    settings = settings or config
    value = settings.get("conv_clamp", None if settings else CLAMP)
    if value is None:
        return None
    limit = number(settings, path, "conv_clamp", CLAMP) * gain
    if limit < 0:
        raise GanExportError(f"{path} says conv_clamp {limit}: not a limit")
    return limit


def mapping_of(file: NvlabsFile, rows: int) -> Mapping:
    """Return the mapping network, which gives `rows` w per image."""
    embed = file.dense("mapping.embed", 1.0, active=False) if file.draft.maybe("mapping.embed") else None
    return mapping_with(file, rows, Label.of(embed) if embed else None)


def mapping_with(file: NvlabsFile, rows: int, label: Label | None, *, center_per_class: bool = False) -> Mapping:
    """Return the mapping network whose label has these features."""
    draft = file.draft
    numbers = [i for i, _ in draft.numbered("mapping.fc#")]
    layers = tuple(file.dense(f"mapping.fc{i}", file.rate, active=True) for i in numbers)
    for a, b in itertools.pairwise(layers):
        if a.shape[0] != b.shape[1]:
            raise DoesNotFitError(f"mapping: {a.shape} is followed by {b.shape}")
    made = Mapping(layers, label, None, rows, center_per_class=center_per_class)
    if made.nz < 1:
        raise DoesNotFitError("mapping.fc0 takes the label alone")
    if draft.maybe("mapping") is not None:
        center = file.arrays("mapping", "w_avg")
        shape = (made.classes, made.width) if center_per_class else (made.width,)
        if center.arrays["w_avg"] != shape:
            raise DoesNotFitError(f"mapping.w_avg is {center.arrays['w_avg']}, not {shape}")
        made = replace(made, center=f"{center.key}.w_avg")
    elif center_per_class:
        raise DoesNotFitError("no mapping.w_avg", ("mapping.w_avg",))
    draft.settings(
        "mapping", "MappingNetwork", z_dim=made.nz, c_dim=made.classes, w_dim=made.width, num_ws=rows,
        num_layers=len(layers),
    )  # fmt: skip
    if not draft.state.settings and not file.from_tensorflow:
        draft.assumed.append(Assumption("the mapping's learning rate multiplier is", f"{MAPPING_RATE:g}", ""))
    return made
