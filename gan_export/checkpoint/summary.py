"""Describe a checkpoint in words and as data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gan_export.graph.layers import Shape
from gan_export.graph.ports import Normal, Port, Size, TruncatedNormal, Uniform
from gan_export.graph.spec import flops, infer_shapes

if TYPE_CHECKING:
    from gan_export.checkpoint import Checkpoint
    from gan_export.recognize.options import Assumption, Finding, Match


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """A layer: name, kind, shape of its output for one image, parameters, operations per image."""

    name: str
    op: str
    shape: Shape
    parameters: int
    flops: int


@dataclass(frozen=True, slots=True)
class Description:
    """A description of a checkpoint; `flops` counts a multiply-add as two operations."""

    checkpoint: Checkpoint
    layers: tuple[LayerFacts, ...]

    @property
    def parameters(self) -> int:
        """The count of numbers in the file that the generator uses, including BatchNorm's statistics."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def flops(self) -> int:
        """The count of floating-point operations per image."""
        return sum(layer.flops for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """Return the description as data for JSON."""
        spec, source, reading = self.checkpoint.spec, self.checkpoint.source, self.checkpoint.reading
        return {
            "file": source.name,
            "sha256": source.sha256,
            "container": source.container,
            "key": source.key,
            "architecture": spec.arch,
            "signature": spec.signature.to_data(),
            "parameters": self.parameters,
            "flops_per_image": self.flops,
            "layers": [
                {"name": f.name, "op": f.op, "shape": f.shape, "parameters": f.parameters, "flops": f.flops}
                for f in self.layers
            ],
            "evidence": [_named(f) for f in reading.found],
            "assumed": [_named(a) for a in reading.assumed],
            "not_checked": reading.unchecked,
            "alternatives": [{"title": a.title, "option": a.option} for a in reading.alternatives],
            "notes": list(reading.notes),
            "ignored": list(source.ignored),
            "records": list(source.records),
            "code": list(source.code),
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return (name, value) of each fact, for a table."""
        spec, source, reading = self.checkpoint.spec, self.checkpoint.source, self.checkpoint.reading
        rows = [
            *([("RUNS CODE", f"elsewhere, not here: {_few(source.code)}")] if source.code else []),
            ("file", f"{source.name} ({source.container})"),
            ("sha256", source.sha256),
            *([("read from", source.key)] if source.key else []),
            ("architecture", spec.arch),
            *((f"takes {port.name}", _port(port)) for port in spec.signature.inputs),
            *((f"gives {port.name}", _port(port)) for port in spec.signature.outputs),
            *((f"size {symbol}", _size(size)) for symbol, size in spec.signature.sizes.items()),
            ("parameters", f"{self.parameters:,}"),
            ("operations", f"{self.flops / 1e6:,.1f} MFLOP per image"),
        ]
        rows += reading_rows(reading)
        rows += [("or else", f"{a.title} ({a.option})") for a in reading.alternatives]
        rows += [("note", note) for note in reading.notes]
        if source.ignored:
            rows.append(("ignored", _few(source.ignored)))
        if source.records:
            rows.append(("not built", _few(source.records)))
        return rows

    def layer_rows(self) -> list[tuple[str, str, str, str]]:
        """Return (name, shape, parameters, MFLOP) of each layer, for a table."""
        return [
            (f"{f.name} ({f.op})", " x ".join(map(str, f.shape)), f"{f.parameters:,}", f"{f.flops / 1e6:.2f}")
            for f in self.layers
        ]


def reading_rows(reading: Match) -> list[tuple[str, str]]:
    """Return (grade, text) of each choice of a reading, for a table."""
    rows = [
        ("by evidence", f"{f.what}: {f.value}{_instead(f.instead)}: {f.figure}{_option(f.option)}")
        for f in reading.found
    ]
    grade = "assumed, not checked" if reading.unchecked else "assumed"
    for a in reading.assumed:
        figure = f": {a.figure}" if a.figure else ""
        rows.append((grade, f"{a.what}: {a.value}{_instead(a.instead)}{figure}{_option(a.option)}"))
    if reading.unchecked and reading.unsettled:
        rows.append(("not checked", reading.unchecked))
    return rows


def unsettled_line(reading: Match) -> str | None:
    """Return one line with the open choices that change images, and their options; None if everything is settled."""
    if not reading.unsettled:
        return None
    open_still = "; ".join(f"{a.what} ({a.value}{_instead(a.instead)}: {a.option})" for a in reading.unsettled)
    return f"UNSETTLED, and other images if wrong: {open_still}"


def _instead(words: tuple[str, ...]) -> str:
    return f", instead of {' or '.join(words)}" if words else ""


def _named(choice: Assumption | Finding) -> dict[str, Any]:
    """Return a choice as data, its option by name: "slope", or "classes=0"."""
    return {**asdict(choice), "option": choice.option.removesuffix("=")}


def _option(option: str) -> str:
    return f" ({option})" if option else ""


def describe(checkpoint: Checkpoint) -> Description:
    """Return the description of a checkpoint from its spec; nothing is run."""
    shapes, operations = infer_shapes(checkpoint.spec), flops(checkpoint.spec)
    layers = tuple(
        LayerFacts(
            name=layer.name,
            op=type(layer).__name__,
            shape=shapes[layer.name],
            parameters=sum(math.prod(s) for s in layer.parameters().values()),
            flops=operations[layer.name],
        )
        for layer in checkpoint.spec.layers
    )
    return Description(checkpoint, layers)


def _port(port: Port) -> str:
    """Return a port in words: "image, 3 x 64 x 64, in [-1, 1]"."""
    words: list[str] = [port.kind]
    if port.classes:
        words.append(f"0 to {port.classes - 1}")
    if port.shape:
        words.append(" x ".join(map(str, port.shape)))
    match port.prior:
        case Normal():
            words.append("N(0, 1)")
        case Uniform(low, high):
            words.append(f"U({low:g}, {high:g})")
        case TruncatedNormal(bound):
            words.append(f"N(0, 1) within {bound:g}")
    if port.layout:
        words.append("unbounded" if port.range is None else f"in [{port.range[0]:g}, {port.range[1]:g}]")
    return ", ".join(words)


def _size(size: Size) -> str:
    steps = f", multiples of {size.multiple}" if size.multiple > 1 else ""
    return f"from {size.least}{steps}"


def _few(names: tuple[str, ...], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
