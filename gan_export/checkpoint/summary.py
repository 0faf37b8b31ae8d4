"""What a checkpoint is, in words and in data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gan_export.graph.layers import Shape, layer_parameters
from gan_export.graph.spec import flops, infer_shapes

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One layer: its name and kind, the shape of one picture's value, parameters, operations an image."""

    name: str
    op: str
    shape: Shape
    parameters: int
    flops: int


@dataclass(frozen=True, slots=True)
class Description:
    """A checkpoint's facts; `flops` count a multiply-add as two."""

    checkpoint: Checkpoint
    layers: tuple[LayerFacts, ...]

    @property
    def parameters(self) -> int:
        """Numbers in the file that the generator uses, BatchNorm's statistics included."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def flops(self) -> int:
        """Floating-point operations an image."""
        return sum(layer.flops for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """Plain data for machines."""
        spec, source, reading = self.checkpoint.spec, self.checkpoint.source, self.checkpoint.reading
        return {
            "file": source.name,
            "sha256": source.sha256,
            "container": source.container,
            "key": source.key,
            "architecture": spec.arch,
            "latent_size": spec.nz,
            "prior": spec.prior,
            "classes": spec.classes,
            "image": {"channels": spec.image[0], "height": spec.image[1], "width": spec.image[2]},
            "range": spec.range,
            "parameters": self.parameters,
            "flops_per_image": self.flops,
            "layers": [
                {"name": f.name, "op": f.op, "shape": f.shape, "parameters": f.parameters, "flops": f.flops}
                for f in self.layers
            ],
            "assumed": [{"what": a.what, "value": a.value, "flag": a.flag} for a in reading.assumed],
            "alternatives": [{"title": a.title, "flag": a.flag} for a in reading.alternatives],
            "notes": list(reading.notes),
            "ignored": list(source.ignored),
            "records": list(source.records),
            "code": list(source.code),
        }

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each fact, for a table."""
        spec, source, reading = self.checkpoint.spec, self.checkpoint.source, self.checkpoint.reading
        channels, height, width = spec.image
        low_high = "unbounded" if spec.range is None else f"[{spec.range[0]:g}, {spec.range[1]:g}]"
        rows = [
            *([("RUNS CODE", f"elsewhere, not here: {_few(source.code)}")] if source.code else []),
            ("file", f"{source.name} ({source.container})"),
            ("sha256", source.sha256),
            *([("read from", source.key)] if source.key else []),
            ("architecture", spec.arch),
            ("latents", f"{spec.nz}, {spec.prior}"),
            ("image", f"{height} x {width}, {channels} channel{'s' if channels > 1 else ''}, in {low_high}"),
            *([("labels", str(spec.classes))] if spec.classes else []),
            ("parameters", f"{self.parameters:,}"),
            ("operations", f"{self.flops / 1e6:,.1f} MFLOP per image"),
        ]
        rows += [("assumed", f"{a.what} {a.value}" + (f" (else {a.flag})" if a.flag else "")) for a in reading.assumed]
        rows += [("or else", f"{a.title} ({a.flag})") for a in reading.alternatives]
        rows += [("note", note) for note in reading.notes]
        if source.ignored:
            rows.append(("ignored", _few(source.ignored)))
        if source.records:
            rows.append(("not built", _few(source.records)))
        return rows

    def layer_rows(self) -> list[tuple[str, str, str, str]]:
        """Name, shape, parameters and MFLOP of each layer, for a table."""
        return [
            (f"{f.name} ({f.op})", " x ".join(map(str, f.shape)), f"{f.parameters:,}", f"{f.flops / 1e6:.2f}")
            for f in self.layers
        ]


def describe(checkpoint: Checkpoint) -> Description:
    """The facts of a checkpoint, from its spec alone: nothing is run."""
    shapes, operations = infer_shapes(checkpoint.spec), flops(checkpoint.spec)
    layers = tuple(
        LayerFacts(
            name=layer.name,
            op=type(layer).__name__,
            shape=shapes[layer.name],
            parameters=sum(math.prod(s) for s in layer_parameters(layer).values()),
            flops=operations[layer.name],
        )
        for layer in checkpoint.spec.layers
    )
    return Description(checkpoint, layers)


def _few(names: tuple[str, ...], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
