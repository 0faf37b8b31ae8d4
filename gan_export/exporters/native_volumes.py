"""Return the records of layers on volumes and signals in a `.gan` file (docs/gan-file-format.md: 70 to 89)."""

from __future__ import annotations

from collections.abc import Mapping

from gan_export.graph.layers import ConvNd, ConvTransposeNd, Layer, Reshape, UpsampleNd

# By layer and number of dimensions: the numbers of engine/src/operations.def, less those of other layers' ranks.
OPERATIONS: Mapping[tuple[type[Layer], int], int] = {
    (ConvTransposeNd, 3): 70, (ConvNd, 3): 71, (UpsampleNd, 3): 72, (Reshape, 3): 73,
    (ConvTransposeNd, 1): 80, (ConvNd, 1): 81, (UpsampleNd, 1): 82,
}  # fmt: skip


def operation(layer: Layer) -> int | None:
    """Return the number of a layer's operation, None if it is none of volumes and signals."""
    match layer:
        case ConvTransposeNd(kernel=sides) | ConvNd(kernel=sides) | UpsampleNd(factor=sides):
            return OPERATIONS.get((type(layer), len(sides)))
        case Reshape(shape=shape):
            return OPERATIONS.get((Reshape, len(shape) - 1))
    return None


def uneven(layer: Layer) -> str:
    """Return what a layer has that an operation can't state, "" if there is nothing: all sides share one number."""
    match layer:
        case ConvTransposeNd(kernel=k, stride=s, padding=p, output_padding=q):
            settings = {"kernel": k, "stride": s, "padding": p, "output padding": q}
        case ConvNd(kernel=k, stride=s, padding=p):
            settings = {"kernel": k, "stride": s, "padding": p}
        case UpsampleNd(factor=f, mode=mode):
            if mode != "nearest":
                return f"mode {mode}; only nearest is supported"
            settings = {"factor": f}
        case _:
            return ""
    for name, sides in settings.items():
        if len(set(sides)) > 1:
            return f"{name} {tuple(sides)}; it must be the same in all dimensions"
    return ""


def attributes(layer: Layer) -> dict[str, int]:
    """Return the integer attributes of a layer's record."""
    match layer:
        case ConvTransposeNd(in_channels=i, out_channels=o, kernel=k, stride=s, padding=p, output_padding=q):
            return {"in": i, "out": o, "kernel": k[0], "stride": s[0], "padding": p[0], "output_padding": q[0]}
        case ConvNd(in_channels=i, out_channels=o, kernel=k, stride=s, padding=p):
            return {"in": i, "out": o, "kernel": k[0], "stride": s[0], "padding": p[0]}
        case UpsampleNd(factor=f):
            return {"factor": f[0]}
        case Reshape(shape=(c, d, h, w)):
            return {"channels": c, "depth": d, "height": h, "width": w}
    return {}
