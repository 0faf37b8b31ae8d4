"""Return parts of a signature: its labels, its latent, its image, or a `LatentImage` if it has only those."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gan_export.errors import GanExportError
from gan_export.graph.ports import Normal, Port, Uniform
from gan_export.graph.signature import Signature
from gan_export.graph.words import Prior


@dataclass(frozen=True, slots=True)
class LatentImage:
    """A view of the signature of a generator from one latent, and perhaps a label, to one image, volume or signal.

    nz:      length of the latent z; prior: its distribution
    classes: number of labels, 0 without labels
    image:   (C, H, W), (C, D, H, W) of a volume, (C, L) of a signal
    range:   (low, high) of its values; None if nothing bounds them
    """

    nz: int
    prior: Prior
    classes: int
    image: tuple[int, ...]
    range: tuple[float, float] | None

    @staticmethod
    def of(signature: Signature, user: str) -> LatentImage:
        """Return the view of a signature.  Raises GanExportError, which names `user`, for another kind of generator."""
        priors: dict[Any, Prior] = {Normal(): "normal", Uniform(): "uniform"}
        z, *labels = signature.inputs
        (image, *others) = signature.outputs
        if (z.name, z.kind, len(z.shape), image.name) == ("z", "latent", 1, image.kind) and z.prior in priors:
            classes = labels[0].classes if labels and labels[0].name == "label" else 0
            nz, sides = z.shape[0], tuple(d for d in image.shape if isinstance(d, int))
            fits = not others and isinstance(nz, int) and len(sides) in (2, 3, 4)
            view = LatentImage(nz, priors[z.prior], classes, sides, image.range)  # type: ignore[arg-type]
            if fits and view.signature() == replace(signature, batch=None):
                return view
        takes = ", ".join(p.name for p in signature.inputs)
        gives = ", ".join(p.name for p in signature.outputs)
        raise GanExportError(
            f"this generator takes {takes} and gives {gives}; {user} takes only one from a latent z to one image, "
            "volume or signal"
        )

    def signature(self) -> Signature:
        """Return the signature that this is a view of."""
        return Signature.of_latent(self.nz, self.prior, self.image, self.classes, self.range)


def label_port(signature: Signature) -> Port | None:
    """Return the first label input, or None if there is none."""
    return next(iter(signature.inputs_of("label")), None)


def classes_of(signature: Signature) -> int:
    """Return the number of labels of the first label input; 0 if there is none."""
    port = label_port(signature)
    return port.classes if port else 0


def latent_port(signature: Signature, user: str) -> Port:
    """Return the only latent of a generator, z (nz,).  Raises GanExportError, which names `user`, if it has not one."""
    ports = signature.inputs_of("latent")
    if len(ports) != 1 or len(ports[0].shape) != 1 or ports[0].symbols:
        takes = ", ".join(p.name for p in signature.inputs)
        raise GanExportError(f"{user} needs a generator with one latent z; this one takes {takes}")
    return ports[0]


def row_of(signature: Signature) -> tuple[int, ...]:
    """Return the shape of the first output as bytes, channels last, at the usual sizes.

    (H, W, C) of an image, (D, H, W, C) of a volume, (L, C) of a signal.  Raises GanExportError for other outputs.
    """
    port = signature.outputs[0]
    if not port.layout:
        raise GanExportError(f"this generator gives {port.name}, which is no image but {port.kind}")
    return port.as_bytes().dims(signature.usual_sizes())


def image_of(signature: Signature) -> tuple[int, int, int]:
    """Return (C, H, W) of the first output, at the usual sizes.  Raises GanExportError if it is no image."""
    port = signature.outputs[0]
    if port.kind in ("volume", "audio"):
        what = "volumes" if port.kind == "volume" else "signals"
        raise GanExportError(f"this generator gives {what} of {' x '.join(map(str, port.shape))}, and not images")
    if port.kind != "image":
        raise GanExportError(f"this generator gives {port.name}, which is no image but {port.kind}")
    shape = port.dims(signature.usual_sizes())
    channels, height, width = (shape[port.axis(letter)] for letter in "CHW")
    return channels, height, width
