"""What an exported file says of itself: the manifest; `FORMATS` knows where each format keeps it.

A manifest depends on the checkpoint and the versions alone; what was measured lies beside the file, in
`NAME.report.json`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gan_export import latents
from gan_export._lib.escape import Json, Text, is_class_name, is_plain_name, json_text
from gan_export._lib.fields import wrong_field
from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest_options, references
from gan_export.formats.base import CHECKPOINT, parsed
from gan_export.formats.bounds import Tolerance
from gan_export.formats.probe import Probe
from gan_export.formats.references import References
from gan_export.formats.registry import FORMATS
from gan_export.graph.ports import Normal, Uniform
from gan_export.graph.signature import Array, Signature
from gan_export.graph.spec import GeneratorSpec
from gan_export.graph.words import Prior
from gan_export.recognize.options import ReadOptions

VERSION = 2
_READ = (1, VERSION)
_SINCE_2 = ("arch", "signature", "rounding", "content_sha256")  # instead of facts
OPTIONS_KEY = "overrides"  # among a manifest's options: the flags that the checkpoint was read with
REFERENCE_SEED = 0
REFERENCE_COUNT = 8
UNSEALED = "0" * 64  # of `content_sha256`, until the file is complete

_MOST_VALUES = 1 << 28  # of one picture
_MOST_REFERENCES = 1 << 28  # bytes of all of them: eight of 3 x 1024 x 1024 take 96 MiB
_MOST_LATENTS = 1 << 18  # as arch.spec's


@dataclass(frozen=True, slots=True)
class Facts:
    """A generator from one latent, and a label if it has classes, to one image: what most rooms can use.

    arch:    the family's name
    nz:      length of a latent; prior: what it is drawn from
    classes: number of labels, 0 for none
    image:   (C, H, W)
    range:   (low, high) of the values given; None where nothing bounds them
    """

    arch: str
    nz: int
    prior: Prior
    classes: int
    image: tuple[int, int, int]
    range: tuple[float, float] | None

    @staticmethod
    def of(spec: GeneratorSpec) -> Facts:
        """The facts of a spec."""
        return Facts(spec.arch, spec.nz, spec.prior, spec.classes, spec.image, spec.range)

    @staticmethod
    def of_signature(arch: str, signature: Signature) -> Facts:
        """Those of a signature.  Raises GanExportError if it is that of another kind of generator."""
        priors: dict[Any, Prior] = {Normal(): "normal", Uniform(): "uniform"}
        z, *labels = signature.inputs
        (image, *others) = signature.outputs
        if (z.name, z.kind, len(z.shape), image.layout) == ("z", "latent", 1, "CHW") and z.prior in priors:
            classes = labels[0].classes if labels and labels[0].name == "label" else 0
            nz, sides = z.shape[0], tuple(d for d in image.shape if isinstance(d, int))
            facts = Facts(arch, nz, priors[z.prior], classes, sides, image.range)  # type: ignore[arg-type]
            if not others and isinstance(nz, int) and facts.signature() == replace(signature, batch=None):
                return facts
        ports = ", ".join(p.name for p in signature.inputs)
        raise GanExportError(f"this generator takes {ports}; only one from a latent z to one image can be used here")

    def signature(self) -> Signature:
        """Of the same generator."""
        return Signature.of_latent(self.nz, self.prior, self.image, self.classes, self.range)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that an exported file carries of itself.

    format:        the exporter's name; options: what it was asked for beyond its defaults
    arch:          the family's name, or the class's of a module of the user's own
    signature:     of the generator, its images as floats
    output:        "float", or "bytes" for images as uint8, channels last
    source_sha256: of the checkpoint
    latent_law:    `latents.LAW`
    versions:      of the tools that wrote the file
    references:    of REFERENCE_SEED's first images (with labels i mod classes), computed in float64:
    `formats.references.pack` tolerance:     what the export was judged by; a verifier has its own
    rounding:      eager float32's own error in half ranges: `formats.tolerance.worth_stating`; since version 2
    content_sha256: `formats.content.sha256` of the export; UNSEALED in version 1, which has none
    """

    format: str
    arch: str
    signature: Signature
    output: Literal["float", "bytes"]
    precision: str
    tolerance: Tolerance
    source_sha256: str
    versions: Mapping[str, str]
    options: Mapping[str, Any]
    references: str
    latent_law: str = latents.LAW
    rounding: float = 0.0
    content_sha256: str = UNSEALED
    version: int = VERSION

    def overrides(self) -> ReadOptions:
        """The flags that the checkpoint was read with.  Raises GanExportError for what are none."""
        stated = self.options.get(OPTIONS_KEY, {})
        try:
            found = ReadOptions(**stated)
        except TypeError:
            raise GanExportError("its manifest's flags are not those of gan-export") from None
        if odd := wrong_field(found):
            raise GanExportError(f"its manifest's flag {odd} is not what gan-export writes; export it again")
        return found

    @property
    def facts(self) -> Facts:
        """What `signature` says of a generator from a latent to an image.  Raises GanExportError for another kind."""
        return Facts.of_signature(self.arch, self.signature)

    def file_signature(self) -> Signature:
        """The signature of the file as it is: with its images as bytes if it gives bytes."""
        return self.signature.as_bytes() if self.output == "bytes" else self.signature

    @property
    def seeded(self) -> bool:
        """Whether the file takes seed, start and count, and draws its own latents."""
        return bool(self.options.get("sampler"))

    def to_json(self) -> str:
        """One line of JSON, keys sorted: the same manifest gives the same bytes."""
        return str(self.to_text()).rstrip("\n")

    def to_text(self) -> Text[Json]:
        """The same as the text of a file."""
        data: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        data |= {"tolerance": asdict(self.tolerance), "signature": self.signature.to_data()}
        if self.version == 1:
            facts = asdict(self.facts)
            data = {name: value for name, value in data.items() if name not in _SINCE_2} | {"facts": facts}
        return json_text(data, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Manifest:
        """Raises GanExportError for what is not a manifest of this version."""
        try:
            data = parsed(text.encode())
            version = data["version"]
            if type(version) is not int or version not in _READ:
                raise GanExportError(f"a manifest of version {printable(str(version), 40)}; this program reads 1 and 2")
            if any((name in data) != (version > 1) for name in _SINCE_2):
                raise GanExportError(f"its manifest isn't of version {version}, as it states; export it again")
            if version == 1:
                facts = _old_facts(data.pop("facts"))
                data |= {"arch": facts.arch, "signature": facts.signature().to_data()}
            manifest = Manifest(
                signature=Signature.from_data(data.pop("signature")),
                tolerance=Tolerance(**data.pop("tolerance")),
                **data,
            )
            if odd := _wrong(manifest):
                raise GanExportError(f"its manifest's {odd} is not what gan-export writes; export it again")
            return manifest
        except KeyError as e:
            raise GanExportError(f"its manifest lacks {printable(str(e))}: it isn't gan-export's") from None
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as e:
            raise GanExportError(f"its manifest can't be read: {printable(str(e))}") from None

    def reference_values(self) -> References:
        """The reference images' values in the range of `facts`."""
        return references.unpack(self.references, values_of(self.signature), REFERENCE_COUNT, whole=self.version == 1)


def _wrong(manifest: Manifest) -> str | None:
    """The first field that isn't of its type, or holds what no generator has."""
    for record in (manifest, manifest.tolerance):
        if wrong := wrong_field(record):
            return wrong
    if not (is_plain_name(manifest.arch) or is_class_name(manifest.arch)):
        return "architecture"
    if not _is_bearable(manifest.signature):
        return "signature"
    if not all(isinstance(v, str) for v in manifest.versions.values()):
        return "versions"
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in (manifest.content_sha256, manifest.source_sha256)):
        return "sha256"
    if manifest.latent_law != latents.LAW:
        return "latent_law"
    if manifest.rounding < 0.0:
        return "rounding"
    if not manifest_options.fit(manifest.options):
        return "options"
    return None


def _is_bearable(signature: Signature) -> bool:
    """Whether what it takes and gives for one image, at usual sizes, is no more than a generator has."""
    sizes = signature.usual_sizes()
    values = [(port.kind, math.prod(port.dims(sizes))) for port in signature]
    drawn = [count for kind, count in values if kind in ("latent", "style")]
    return sum(count for _, count in values) <= 2 * _MOST_VALUES and max(drawn, default=0) <= _MOST_LATENTS


def _old_facts(data: Mapping[str, Any]) -> Facts:
    """Those of a manifest of version 1."""
    interval = tuple(data["range"]) if data["range"] else None
    facts = Facts(**{**data, "image": tuple(data["image"]), "range": interval})
    if not is_plain_name(facts.arch):
        raise GanExportError("its manifest's architecture is not what gan-export writes; export it again")
    if (
        wrong_field(facts)
        or not 1 <= facts.nz <= _MOST_LATENTS
        or facts.classes < 0
        or min(facts.image) < 1
        or math.prod(facts.image) > _MOST_VALUES
        or (facts.range is not None and not facts.range[0] < facts.range[1])
    ):
        raise GanExportError("its manifest's facts is not what gan-export writes; export it again")
    return facts


def values_of(signature: Signature) -> int:
    """Values of one image's outputs, all together, at usual sizes."""
    return sum(math.prod(shape) for shape in signature.output_shapes(1).values())


def joined_values(signature: Signature, outputs: Mapping[str, Array]) -> Array:
    """Every output's values laid end to end, image by image, (N, values): the order of reference values."""
    arrays = [outputs[p.name] for p in signature.outputs]
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def format_of(kind: str) -> str:
    """The name of the exporter that writes such files."""
    return kind if kind == CHECKPOINT else FORMATS.find(kind).exporter


def report_path(artifact: Path) -> Path:
    """Where the measured figures of an artifact lie."""
    return artifact.with_name(artifact.name + ".report.json")


def files(path: Path) -> dict[str, Path]:
    """By name, relative to the folder that `path` lies in: itself, or what is in it, and weights beside it."""
    if path.is_dir():
        return {f.relative_to(path.parent).as_posix(): f for f in sorted(path.rglob("*")) if f.is_file()}
    kind = detect_format(path)
    beside = () if kind == CHECKPOINT else FORMATS.find(kind).beside(path)
    return {name: path.parent / name for name in (path.name, *beside)}


def size(path: Path) -> int:
    """Bytes of all of them."""
    return sum(f.stat().st_size for f in files(path).values())


def detect_format(path: Path) -> str:
    """Return the format of a file or folder, by its content and never by its name; "checkpoint" if none is detected."""
    probe = Probe(path)
    return next((format.name for format in FORMATS if format.detect(probe)), CHECKPOINT)


def read_manifest(path: Path, kind: str) -> Manifest | None:
    """Return the manifest of an artifact of format `kind`, None if it has none; nothing in the file is run.

    Raises GanExportError if it isn't what gan-export writes, or if the file's own header says otherwise.
    """
    format = FORMATS.find(kind)
    try:
        text = format.manifest(path)
        if not text:
            return None
        manifest = Manifest.from_json(text.decode("utf-8", "replace"))
        if manifest.format != format.exporter:
            stated = printable(manifest.format, 40)
            raise GanExportError(f"its manifest is of {stated}, the file is {kind}; export it again")
        if not format.agrees(path, manifest):
            raise GanExportError("its manifest and its layers state different generators; export it again")
        return manifest
    except GanExportError as e:
        raise GanExportError(f"{printable(str(path))}: {e}") from None
