"""What style-based generators share: inputs by choice, truncation, and convolutions that a style scales.

No convolution has computed weights: y = conv(x × s) × d + noise, with d = rsqrt(s² @ Q.T + eps) and Q the squares of
the weight summed over its kernel (Karras et al. 2020, section 2.2, as arithmetic on activations).  Gains and equalized
learning rates go into constants, computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.graph.layers import (
    Activation,
    Add,
    AddNoise,
    AddPlane,
    Affine,
    ChannelBias,
    Clamp,
    Concat,
    Conv,
    ConvTranspose,
    Demodulate,
    Embedding,
    GroupedConv,
    GroupedConvTranspose,
    Linear,
    ModulatedConstant,
    PixelNorm,
    Row,
    Rows,
    ScaleChannels,
    Shape,
    Truncate,
)
from gan_export.graph.ports import Normal, Port, Prior
from gan_export.graph.signature import Signature
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.state_dict import DoesNotFitError
from gan_export.recognize.style_parts import EPS, SLOPE, Dense, Doubles, Mapping, StyledConv

NORMAL = Normal()
MEAN_OF = 4096  # latents that a mean of w is estimated from
MOST_ROWS = 64  # w of one image


def _one_row(center: Doubles, width: int) -> Doubles:
    """The mean of w (width,) out of a file's, which may be a row for each layer."""
    rows = center.reshape(-1, width)
    if not np.array_equal(rows, np.broadcast_to(rows[0], rows.shape), equal_nan=True):
        raise GanExportError("psi=: the file has another mean of w for each layer; leave psi= out")
    return np.asarray(rows[0])


@dataclass
class StyleBuilder:
    """Places a style-based generator's parts in a SpecBuilder."""

    draft: SpecBuilder
    ws: list[str] = field(default_factory=list)
    noises: list[Port] = field(default_factory=list)
    noise: str = "const"

    def start(self, mapping: Mapping, noise: str, planes: tuple[int, ...], prior: Prior = NORMAL) -> None:
        """Take the inputs that were chosen, and give each layer its w.

        noise: the default of `--noise`.  planes: sides of the noise that the layers add, in order.  prior: of the noise
        """
        draft = self.draft
        if not 1 <= mapping.rows <= MOST_ROWS:
            raise DoesNotFitError(f"{mapping.rows} layers that take a style")
        part = self._part()
        start = part or draft.choice("input", "z", "what it starts from")
        self.noise = "none"
        if planes and draft.overrides.part != "mapping":
            self.noise = draft.choice("noise", noise, "the noise that is added")
        if self.noise == "seed":
            self.noises = [Port(f"noise{i}", "noise", (1, r, r), prior=prior) for i, r in enumerate(planes)]
        psi = () if not draft.overrides.psi_input else (Port("psi", "scalar", range=(0.0, 1.0)),)
        if draft.overrides.psi_input and draft.overrides.psi is not None:
            raise GanExportError("psi= and psi_input=True: psi is either a constant or an input")
        first = {
            "z": Signature.of_latent(mapping.nz, "normal", (1, 1, 1), mapping.classes, None).inputs,
            "w": (Port("w", "values", (mapping.width,)),),
            "ws": (Port("ws", "values", (mapping.rows, mapping.width)),),
        }[start]
        draft.takes(*first, *psi, *self.noises)
        labels = mapping.label.keys if mapping.label else ()
        draft.used.update(key.rpartition(".")[0] for key in (*(d.weight for d in mapping.layers), *labels))
        if mapping.center:
            draft.used.add(mapping.center.rpartition(".")[0])
        if start == "z":
            self._map(mapping)
        rows = [draft.last] * mapping.rows
        if start == "ws":
            rows = [draft.add(Row, f"w{i}", inputs=("ws",), index=i) for i in range(mapping.rows)]
        self.ws = self._truncated(mapping, rows)
        if draft.overrides.part == "mapping":
            draft.add(Rows, "rows", inputs=tuple(self.ws))
            draft.first_part = len(draft.chain.layers)

    def _part(self) -> Literal["z", "ws"] | None:
        """Return the input that `part` decides.  Raises GanExportError for an option that belongs to the other part."""
        options = self.draft.overrides
        self.draft.used_overrides.add("part")
        if options.part is None:
            return None
        others = {
            "mapping": ("input", "noise", "translate", "rotate"),
            "synthesis": ("input", "psi", "cutoff", "psi_input"),
        }[options.part]
        if odd := next((name for name in others if getattr(options, name) not in (None, False)), None):
            raise GanExportError(f"{odd}=: the {options.part} has no place for it; leave it or part= out")
        return "z" if options.part == "mapping" else "ws"

    def _map(self, mapping: Mapping) -> None:
        draft = self.draft
        draft.chain.last = "z"
        draft.add(PixelNorm, "z_norm", eps=mapping.eps)
        if (label := mapping.label) is not None:
            classes, features = label.shape
            draft.add(Embedding, "embed", inputs=("label",), classes=classes, dim=features)
            draft.derive("embed.weight", label.keys, label.shape, label.compute)
            draft.add(PixelNorm, "embed_norm", eps=EPS)
            draft.add(Concat, "joined", inputs=("z_norm", "embed_norm"))
        for i, layer in enumerate(mapping.layers):
            self.dense(f"map{i}", layer, draft.last)

    def _truncated(self, mapping: Mapping, rows: list[str]) -> list[str]:
        """The w of each layer after truncation."""
        draft = self.draft
        if draft.overrides.part == "synthesis":
            return rows
        psi = 1.0 if draft.overrides.psi_input else float(draft.choice("psi", 1.0, "truncation psi"))
        draft.used_overrides.add("psi_input")
        cutoff = draft.overrides.cutoff
        draft.used_overrides.add("cutoff")
        if cutoff is not None and psi == 1.0 and not draft.overrides.psi_input:
            raise GanExportError("cutoff= goes with psi= or psi_input=True")
        if psi == 1.0 and not draft.overrides.psi_input:
            return rows
        made: dict[str, str] = {}
        for row in rows[: len(rows) if cutoff is None else cutoff]:
            if row not in made:
                made[row] = self._toward_center(mapping, row, psi, f"{row}_truncated")
        count = len(rows) if cutoff is None else min(cutoff, len(rows))
        return [made[row] if i < count else row for i, row in enumerate(rows)]

    def _toward_center(self, mapping: Mapping, row: str, psi: float, name: str) -> str:
        draft = self.draft
        width = (mapping.width,)
        if mapping.center_per_class:
            return self._toward_center_of_class(mapping, row, psi, name)
        keys, center = self._center(mapping)
        if draft.overrides.psi_input:
            draft.add(Truncate, name, inputs=(row, "psi"), features=mapping.width)
            draft.derive(f"{name}.center", keys, width, center)
        else:
            draft.add(Affine, name, inputs=(row,), channels=mapping.width)
            draft.derive(f"{name}.weight", keys[:1], width, lambda _: np.full(width, psi))
            draft.derive(f"{name}.bias", keys, width, lambda *arrays: (1 - psi) * center(*arrays))
        return name

    def _toward_center_of_class(self, mapping: Mapping, row: str, psi: float, name: str) -> str:
        draft, key, width = self.draft, mapping.center or "", mapping.width
        if "label" not in draft.shapes:
            raise GanExportError("psi=: w has a mean for each class, so psi goes with input z, which takes a label")

        def center(name: str, factor: float) -> str:
            if name not in draft.shapes:
                draft.add(Embedding, name, inputs=("label",), classes=mapping.classes, dim=width)
                draft.derive(f"{name}.weight", (key,), (mapping.classes, width), lambda c: c * factor)
            return name

        if not draft.overrides.psi_input:
            draft.add(Affine, f"{name}_own", inputs=(row,), channels=width)
            draft.derive(f"{name}_own.weight", (key,), (width,), lambda _: np.full(width, psi))
            draft.derive(f"{name}_own.bias", (key,), (width,), lambda _: np.zeros(width))
            return draft.add(Add, name, inputs=(f"{name}_own", center("center", 1 - psi)))
        draft.add(Add, f"{name}_apart", inputs=(row, center("center_less", -1.0)))
        draft.add(Truncate, f"{name}_part", inputs=(f"{name}_apart", "psi"), features=width)
        draft.derive(f"{name}_part.center", (key,), (width,), lambda _: np.zeros(width))
        return draft.add(Add, name, inputs=(f"{name}_part", center("center", 1.0)))

    def _center(self, mapping: Mapping) -> tuple[tuple[str, ...], Callable[..., Doubles]]:
        """The mean of w: what the file has, or else over the law's first latents of seed 0."""
        if mapping.center:
            return (mapping.center,), lambda center: _one_row(center, mapping.width)
        if mapping.label:
            raise GanExportError("psi=: the file has no mean of w, which depends on the label here")
        note = f"w's mean is not in the file: estimated from the first {MEAN_OF:,} latents of seed 0"
        if note not in self.draft.notes:
            self.draft.notes.append(note)

        def center(*arrays: Doubles) -> Doubles:
            x = latents.draw(0, 0, MEAN_OF, mapping.nz, "normal").astype(np.float64)
            x = x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + mapping.eps)
            for layer, weight, bias in zip(mapping.layers, arrays[::2], arrays[1::2], strict=True):
                x = layer.apply(x, weight, bias)
            return np.asarray(x.mean(axis=0))

        return tuple(k for layer in mapping.layers for k in (layer.weight, layer.bias)), center

    # Layers.

    def dense(self, name: str, layer: Dense, source: str) -> str:
        """Append a fully connected layer; an activation's gain goes into its weights."""
        draft = self.draft
        out, inside = layer.shape
        gain = math.sqrt(2) if layer.active else 1.0
        weight_gain, bias_gain, offset = layer.gain * gain, layer.bias_gain * gain, layer.offset * gain
        draft.add(Linear, name, inputs=(source,), in_features=inside, out_features=out)
        draft.derive(f"{name}.weight", (layer.weight,), (out, inside), lambda w: w * weight_gain)
        draft.derive(f"{name}.bias", (layer.bias,), (out,), lambda b: b * bias_gain + offset)
        if layer.active:
            draft.add(Activation, f"{name}_act", kind="leaky_relu", slope=SLOPE)
        return draft.last

    def modulate(  # noqa: PLR0917
        self, name: str, affine: Dense, x: str | None, w: str, constant: str, shape: Shape
    ) -> str:
        """Append x × the style of w, or, if x is None, the learned constant × the style; give the style's name."""
        draft = self.draft
        style = self.dense(f"{name}_style", affine, w)
        if x is None:
            draft.add(ModulatedConstant, f"{name}_const", inputs=(style,), shape=shape)
            draft.derive(f"{name}_const.weight", (constant,), shape, lambda c: c.reshape(shape))
        else:
            draft.add(ScaleChannels, f"{name}_in", inputs=(x, style))
        return style

    def conv(self, conv: StyledConv, x: str | None, w: str, constant: str = "", shape: Shape = ()) -> str:
        """Append a styled convolution with its noise, bias, activation and clamp."""
        draft, name = self.draft, conv.name
        out, inside, k, _ = conv.shape
        style = self.modulate(name, conv.affine, x, w, constant, shape)
        scale, gain = conv.scale, conv.gain
        full = conv.shape
        if conv.taps is None:
            draft.add(Conv, name, in_channels=inside, out_channels=out, kernel=k, padding=k // 2, bias=False)
            draft.derive(f"{name}.weight", (conv.weight,), full, lambda v: v.reshape(full) * scale)
        else:
            turned = (inside, out, k, k)
            draft.add(ConvTranspose, name, in_channels=inside, out_channels=out, kernel=k, stride=2, bias=False)
            draft.derive(
                f"{name}.weight", (conv.weight,), turned, lambda v: v.reshape(full).transpose(1, 0, 2, 3) * scale
            )
            draft.add(GroupedConv, f"{name}_blur", in_channels=out, out_channels=out, kernel=4, groups=out, padding=1)
            self._taps(f"{name}_blur.weight", conv.taps, out, conv.taps_gain, turned=False)
        self.demodulate(name, draft.last, style, conv.weight, full, scale, gain)
        self._noise(conv)
        draft.add(ChannelBias, f"{name}_bias", channels=out)
        draft.derive(f"{name}_bias.bias", (conv.bias,), (out,), lambda b: b.reshape(-1) * conv.later_gain)
        draft.add(Activation, f"{name}_act", kind="leaky_relu", slope=SLOPE)
        self._clamp(name, conv.clamp)
        return draft.last

    def demodulate(  # noqa: PLR0917
        self, name: str, x: str, style: str, weight: str, shape: Shape, scale: float, gain: float
    ) -> str:
        """Append x, the convolution with the weight (O, I, k, k) × scale, times its demodulation factors and a gain."""
        draft, (out, inside, _, _) = self.draft, shape
        # gain × rsqrt(s² Q + eps) = rsqrt(s² Q / gain² + eps / gain²)
        draft.add(
            Demodulate, f"{name}_demod", inputs=(style,), in_features=inside, out_features=out, eps=EPS / gain**2
        )  # fmt: skip
        square = (scale / gain) ** 2
        draft.derive(
            f"{name}_demod.weight", (weight,), (out, inside),
            lambda v: np.sum(np.square(v.reshape(shape)), axis=(2, 3)) * square,
        )  # fmt: skip
        return draft.add(ScaleChannels, f"{name}_out", inputs=(x, f"{name}_demod"))

    def _noise(self, conv: StyledConv) -> None:
        if conv.noise is None or self.noise == "none":
            return
        draft, gain, name, (plane, strength) = self.draft, conv.later_gain, f"{conv.name}_noise", conv.noise
        if self.noise == "seed":
            port = next(p for p in self.noises if (p.name,) not in {la.inputs[1:] for la in draft.chain})
            draft.add(AddNoise, name, inputs=(draft.last, port.name))
            draft.derive(f"{name}.weight", (strength,), (1,), lambda s: s.reshape(1) * gain)
            return
        side = conv.side
        draft.add(AddPlane, name, height=side, width=side)
        draft.derive(
            f"{name}.weight", (plane, strength), (1, side, side),
            lambda p, s: p.reshape(1, side, side) * s.reshape(1) * gain,
        )  # fmt: skip

    def to_image(self, conv: StyledConv, x: str, w: str) -> str:
        """Append the 1x1 convolution to the channels of the image: no demodulation, no activation."""
        draft, name = self.draft, conv.name
        out, inside, k, _ = conv.shape
        self.modulate(name, conv.affine, x, w, "", ())
        full, scale = conv.shape, conv.scale
        draft.add(Conv, name, in_channels=inside, out_channels=out, kernel=k, padding=k // 2)
        draft.derive(f"{name}.weight", (conv.weight,), full, lambda v: v.reshape(full) * scale)
        draft.derive(f"{name}.bias", (conv.bias,), (out,), lambda b: b.reshape(-1))
        self._clamp(name, conv.clamp)
        return draft.last

    def enlarge(self, name: str, image: str, taps: str, gain: float) -> str:
        """Append zero insertion and the filter: twice the size."""
        channels = self.draft.shapes[image][0]
        self.draft.add(
            GroupedConvTranspose, name, inputs=(image,), in_channels=channels, out_channels=channels, kernel=4,
            groups=channels, padding=1,
        )  # fmt: skip
        self._taps(f"{name}.weight", taps, channels, gain, turned=True)
        return name

    def plus(self, name: str, a: str, b: str) -> str:
        return self.draft.add(Add, name, inputs=(a, b))

    def _clamp(self, name: str, limit: float | None) -> None:
        if limit is not None:
            self.draft.add(Clamp, f"{name}_clamp", low=-limit, high=limit)

    def _taps(self, parameter: str, key: str, channels: int, gain: float, *, turned: bool) -> None:
        """A filter for each channel.  A convolution's kernel is the flipped filter, a transposed one's the filter."""
        shape = (channels, 1, 4, 4)
        self.draft.derive(
            parameter, (key,), shape,
            lambda f: np.broadcast_to((f if turned else f[::-1, ::-1]) * gain, shape),
        )  # fmt: skip
