"""The manifest, which describes an exported file; `FORMATS` defines where each format stores it.

A manifest depends only on the checkpoint and the versions; measurements are in a file beside it, `NAME.report.json`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
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
from gan_export.graph.reach import MOST_PIXELS, Reach
from gan_export.graph.signature import Array, Signature
from gan_export.graph.views import LatentImage
from gan_export.graph.words import Prior
from gan_export.recognize.options import ReadOptions

VERSION = 2
_READ = (1, VERSION)
_SINCE_2 = ("arch", "signature", "rounding", "content_sha256")  # version 1 has facts instead
OPTIONS_KEY = "overrides"  # of a manifest's options: the flags that the checkpoint was read with
_GRADES = ("file", "evidence", "assumed")
REFERENCE_SEED = 0
MOST_REFERENCE_IMAGES = 8
_MOST_COMPUTED = 1 << 21  # values of all reference images together, if they are more than two
UNSEALED = "0" * 64  # value of `content_sha256` until the file is complete

_MOST_VALUES = 1 << 28  # of one image
_MOST_REFERENCES = 1 << 28  # bytes of all of them: eight of 3 x 1024 x 1024 take 96 MiB
_MOST_LATENTS = 1 << 18  # as arch.spec's


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a manifest.

    format:        the exporter's name; options: those that differ from its defaults
    arch:          the name of the family, or of a user's own module class
    signature:     of the generator, with images as floats
    output:        "float", or "bytes" for images as uint8, channels last
    source_sha256: of the checkpoint
    latent_law:    `latents.LAW`
    versions:      of the tools that wrote the file
    references:    REFERENCE_SEED's first images (with labels i mod classes) in float64, by `formats.references.pack`
    tolerance:     the tolerance that the export was verified with; a verifier has its own
    rounding:      eager float32's own error in half ranges, by `formats.tolerance.worth_stating`; since version 2
    grades:        of each choice that the checkpoint leaves open, by its flag: "evidence" or "assumed"; since version 2
    reach:         how far the generator sees into an image that it takes; None for a latent generator and older files
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
    grades: Mapping[str, str] = field(default_factory=dict)
    reach: Reach | None = None
    content_sha256: str = UNSEALED
    version: int = VERSION

    def overrides(self) -> ReadOptions:
        """Return the flags that the checkpoint was read with; raise GanExportError if they are invalid."""
        stated = self.options.get(OPTIONS_KEY, {})
        try:
            found = ReadOptions.of(stated)
        except TypeError:
            raise GanExportError("its manifest's flags are not those of gan-export") from None
        if odd := wrong_field(found):
            raise GanExportError(f"its manifest's flag {odd} is not what gan-export writes; export it again")
        return found

    def file_signature(self) -> Signature:
        """Return the signature of the file as it is: with images as bytes if it returns bytes."""
        return self.signature.as_bytes() if self.output == "bytes" else self.signature

    @property
    def seeded(self) -> bool:
        """Whether the file takes seed, start and count, and computes its own latents."""
        return bool(self.options.get("sampler"))

    @property
    def arithmetic(self) -> str:
        """The products that the runtime may use: "float32", or "fast" if the export allowed 16-bit products."""
        return "fast" if self.options.get("arithmetic") == "fast" else "float32"

    def to_json(self) -> str:
        """Return one line of JSON with sorted keys: the same manifest gives the same bytes."""
        return str(self.to_text()).rstrip("\n")

    def to_text(self) -> Text[Json]:
        """Return the manifest as the text of a file."""
        data: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        data |= {"tolerance": asdict(self.tolerance), "signature": self.signature.to_data()}
        if self.reach is None:
            del data["reach"]
        else:
            data["reach"] = asdict(self.reach)
        if self.version == 1:
            of = LatentImage.of(self.signature, "a manifest of version 1")
            facts = {"arch": self.arch, **asdict(of)}
            data = {name: value for name, value in data.items() if name not in (*_SINCE_2, "grades")} | {"facts": facts}
        return json_text(data, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Manifest:
        """Parse a manifest; raise GanExportError if it is not one of a supported version."""
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
                reach=Reach(**data.pop("reach")) if "reach" in data else None,
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
        """Return the reference images' values, in the signature's range."""
        size = values_of(self.signature)
        count = MOST_REFERENCE_IMAGES if self.version == 1 else reference_count(self.signature)
        return references.unpack(self.references, size, count, whole=self.version == 1)


def _wrong(manifest: Manifest) -> str | None:
    """Return the first field that isn't of its type, or has a value that no generator has."""
    for record in (manifest, manifest.tolerance, *([manifest.reach] if manifest.reach else [])):
        if wrong := wrong_field(record):
            return wrong
    if not (is_plain_name(manifest.arch) or is_class_name(manifest.arch)):
        return "architecture"
    if manifest.reach is not None and not _is_possible(manifest.reach):
        return "reach"
    if not _is_bearable(manifest.signature):
        return "signature"
    if not all(isinstance(v, str) for v in manifest.versions.values()):
        return "versions"
    if not all(is_plain_name(name) and grade in _GRADES for name, grade in manifest.grades.items()):
        return "grades"
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in (manifest.content_sha256, manifest.source_sha256)):
        return "sha256"
    if manifest.latent_law != latents.LAW:
        return "latent_law"
    if manifest.rounding < 0.0:
        return "rounding"
    if not manifest_options.fit(manifest.options):
        return "options"
    return None


def _is_possible(reach: Reach) -> bool:
    """Return whether a generator can have this reach."""
    if not 1 <= reach.values <= _MOST_VALUES:
        return False
    if reach.whole:
        return is_class_name(reach.whole) and (reach.pixels, reach.multiple) == (0, 0)
    return 0 <= reach.pixels <= MOST_PIXELS and 1 <= reach.multiple <= MOST_PIXELS


def _is_bearable(signature: Signature) -> bool:
    """Return whether the size of the inputs and outputs for one image, at usual sizes, is plausible."""
    sizes = signature.usual_sizes()
    values = [(port.kind, math.prod(port.dims(sizes))) for port in signature]
    drawn = [count for kind, count in values if kind in ("latent", "style")]
    return sum(count for _, count in values) <= 2 * _MOST_VALUES and max(drawn, default=0) <= _MOST_LATENTS


@dataclass(frozen=True, slots=True)
class VersionOneFacts:
    """The fields of a manifest of version 1 that a signature has replaced."""

    arch: str
    nz: int
    prior: Prior
    classes: int
    image: tuple[int, int, int]
    range: tuple[float, float] | None

    def signature(self) -> Signature:
        return Signature.of_latent(self.nz, self.prior, self.image, self.classes, self.range)


def _old_facts(data: Mapping[str, Any]) -> VersionOneFacts:
    """Return the facts of a manifest of version 1."""
    interval = tuple(data["range"]) if data["range"] else None
    facts = VersionOneFacts(**{**data, "image": tuple(data["image"]), "range": interval})
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
        raise GanExportError("its manifest's facts are not what gan-export writes; export it again")
    return facts


def reference_count(signature: Signature) -> int:
    """Return the number of reference images in a manifest: 8, fewer above 295 x 295 x 3, and at least 2."""
    return max(2, min(MOST_REFERENCE_IMAGES, _MOST_COMPUTED // values_of(signature)))


def values_of(signature: Signature) -> int:
    """Return the number of values of one image's outputs together, at usual sizes."""
    return sum(math.prod(shape) for shape in signature.output_shapes(1).values())


def joined_values(signature: Signature, outputs: Mapping[str, Array]) -> Array:
    """Return all outputs' values concatenated, image by image, (N, values): the order of reference values."""
    arrays = [outputs[p.name] for p in signature.outputs]
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def format_of(kind: str) -> str:
    """Return the name of the exporter that writes files of a kind."""
    return kind if kind == CHECKPOINT else FORMATS.find(kind).exporter


def report_path(artifact: Path) -> Path:
    """Return the path of the file with an export's measurements."""
    return artifact.with_name(artifact.name + ".report.json")


def files(path: Path) -> dict[str, Path]:
    """Return the files of an export by name, relative to the folder of `path`.

    They are `path` itself or its contents, and weights beside it.
    """
    if path.is_dir():
        return {f.relative_to(path.parent).as_posix(): f for f in sorted(path.rglob("*")) if f.is_file()}
    kind = detect_format(path)
    beside = () if kind == CHECKPOINT else FORMATS.find(kind).beside(path)
    return {name: path.parent / name for name in (path.name, *beside)}


def size(path: Path) -> int:
    """Return the bytes of all files of an export."""
    return sum(f.stat().st_size for f in files(path).values())


def detect_format(path: Path) -> str:
    """Return the format of a file or folder, by its content and never by its name; "checkpoint" if none is detected."""
    probe = Probe(path)
    return next((format.name for format in FORMATS if format.detect(probe)), CHECKPOINT)


def read_manifest(path: Path, kind: str) -> Manifest | None:
    """Return the manifest of an artifact of format `kind`, None if it has none; nothing in the file is run.

    Raises GanExportError if it isn't valid, or if the file's own header contradicts it.
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
