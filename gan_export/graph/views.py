"""Return parts of a signature: its labels, its latent, its image, or a `LatentImage` if it has only those."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gan_export.errors import GanExportError
from gan_export.graph.ports import Normal, Port, TruncatedNormal, Uniform
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
        if isinstance(z.prior, TruncatedNormal):
            bound = z.prior.bound
            raise GanExportError(
                f"{z.name} is drawn from a normal distribution truncated at ±{bound:g}; {user} takes only normal and "
                "uniform latents"
            )
        takes = ", ".join(p.name for p in signature.inputs)
        gives = ", ".join(p.name for p in signature.outputs)
        raise GanExportError(
            f"this generator takes {takes} and gives {gives}; {user} takes only one from a latent z to one image, "
            "volume or signal"
        )

    def signature(self) -> Signature:
        """Return the signature that this is a view of."""
        return Signature.of_latent(self.nz, self.prior, self.image, self.classes, self.range)


def start_of(signature: Signature, user: str) -> LatentImage:
    """Return the view of a generator that may give values in the place of the image, such as a mapping from z to ws.

    Its `image` says nothing then.  Raises GanExportError, which names `user`, for another kind of generator.
    """
    if [p.kind for p in signature.outputs] == ["values"]:
        signature = replace(signature, outputs=Signature.of_latent(1, "normal", (1, 1, 1), 0, None).outputs)
    return LatentImage.of(signature, user)


@dataclass(frozen=True, slots=True)
class ImageToImage:
    """A view of the signature of a generator from one image of a fixed size to one, perhaps with dropout.

    input, image: (C, H, W) of what goes in and comes out; input_range, range: (low, high) of their values, or None
    dropouts: the inputs of dropouts, whose numbers are on (0, 1)
    """

    input: tuple[int, int, int]
    image: tuple[int, int, int]
    input_range: tuple[float, float] | None
    range: tuple[float, float] | None
    dropouts: tuple[Port, ...] = ()

    @staticmethod
    def of(signature: Signature, user: str) -> ImageToImage:
        """Return the view of a signature.  Raises GanExportError, which names `user`, for another kind of generator."""
        dropouts = tuple(p for p in signature.inputs if p.kind == "noise" and p.prior == Uniform(0.0, 1.0))
        given = tuple(p for p in signature.inputs if p not in dropouts)
        _refuse_noise(given, user)
        ports = (*given, *signature.outputs)
        plain = [p.kind == "image" and p.layout == "CHW" and p.dtype == "float32" for p in ports]
        if len(given) != 1 or len(signature.outputs) != 1 or not all(plain):
            takes, gives = (", ".join(p.name for p in side) for side in (signature.inputs, signature.outputs))
            raise GanExportError(
                f"this generator takes {takes} and gives {gives}; {user} takes only one from one image to one image"
            )
        if signature.sizes:
            raise GanExportError(f"this generator takes images of any size; {user} needs one: size=HEIGHTxWIDTH")
        inside, out = (tuple(d for d in p.shape if isinstance(d, int)) for p in ports)
        return ImageToImage(inside, out, ports[0].range, ports[1].range, dropouts)  # type: ignore[arg-type]


def _refuse_noise(inputs: tuple[Port, ...], user: str) -> None:
    if any(p.kind == "noise" for p in inputs):
        raise GanExportError(
            f"{user} has no noise by seed; leave noise=seed out, or export it to onnx, torchscript, pt2, "
            "openvino or native"
        )


def takes_image(signature: Signature) -> bool:
    """Return whether the first input is an image."""
    return signature.inputs[0].kind == "image"


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
