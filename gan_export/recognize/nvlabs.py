"""What NVlabs' StyleGAN2 and StyleGAN3 share: layers held against what the pickle says of them, and the mapping."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping as Table
from typing import Any

from gan_export.errors import GanExportError, printable
from gan_export.graph.layers import Shape
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.options import Assumption
from gan_export.recognize.state_dict import DoesNotFitError, Module
from gan_export.recognize.style import Dense, Mapping

CLAMP = 256.0  # of both trees' training scripts
MAPPING_RATE = 0.01


class NvlabsFile:
    """The file's modules, each held against what the pickle says of it."""

    def __init__(self, draft: SpecBuilder) -> None:
        self.draft = draft

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
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e9:
        raise GanExportError(f"{path} says {name} {printable(str(value), 40)}: not a number that is read")
    return float(value)


def limit_of(settings: Table[str, Any], path: str, gain: float = 1.0) -> float | None:
    """conv_clamp, of a layer whose result has that gain."""
    value = settings.get("conv_clamp", None if settings else CLAMP)
    if value is None:
        return None
    limit = number(settings, path, "conv_clamp", CLAMP) * gain
    if limit < 0:
        raise GanExportError(f"{path} says conv_clamp {limit}: not a limit")
    return limit


def mapping_of(file: NvlabsFile, rows: int) -> Mapping:
    """Return the mapping network, which gives `rows` w per image."""
    draft = file.draft
    numbers = [i for i, _ in draft.numbered("mapping.fc#")]
    layers = tuple(file.dense(f"mapping.fc{i}", MAPPING_RATE, active=True) for i in numbers)
    embed = file.dense("mapping.embed", 1.0, active=False) if draft.maybe("mapping.embed") else None
    for a, b in itertools.pairwise(layers):
        if a.shape[0] != b.shape[1]:
            raise DoesNotFitError(f"mapping: {a.shape} is followed by {b.shape}")
    made = Mapping(layers, embed, "mapping.w_avg" if draft.maybe("mapping") else None, rows)
    if made.nz < 1:
        raise DoesNotFitError("mapping.fc0 takes the label alone")
    if made.center:
        center = file.arrays("mapping", "w_avg")
        if center.arrays["w_avg"] != (made.width,):
            raise DoesNotFitError(f"mapping.w_avg is {center.arrays['w_avg']}, not ({made.width},)")
        made = Mapping(layers, embed, f"{center.key}.w_avg", rows)
    classes = embed.shape[1] if embed else 0
    draft.settings(
        "mapping", "MappingNetwork", z_dim=made.nz, c_dim=classes, w_dim=made.width, num_ws=rows, num_layers=len(layers)
    )
    if not draft.state.settings:
        draft.assumed.append(Assumption("the mapping's learning rate multiplier is", f"{MAPPING_RATE:g}", ""))
    return made
