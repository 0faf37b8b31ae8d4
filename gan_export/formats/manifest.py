"""What an exported file says of itself: the manifest, where each format keeps it, and how to tell formats apart.

A manifest depends on the checkpoint and the versions alone; what was measured lies beside the file, in
`NAME.report.json`.
"""

from __future__ import annotations

import html
import math
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from gan_export import latents
from gan_export._lib.budget import Budget, BudgetError, read_json
from gan_export._lib.escape import Json, Text, is_class_name, is_plain_name, json_text
from gan_export._lib.fields import wrong_field
from gan_export.errors import GanExportError, first_line, printable
from gan_export.formats import gan_header, manifest_options, protobuf, references
from gan_export.formats.references import References
from gan_export.formats.tolerance import Tolerance
from gan_export.graph.ports import Normal, Uniform
from gan_export.graph.signature import Array, Signature
from gan_export.graph.spec import SPEC_KEY, GeneratorSpec
from gan_export.graph.words import Prior
from gan_export.recognize.options import ReadOptions

VERSION = 2
_READ = (1, VERSION)
_SINCE_2 = ("arch", "signature", "rounding", "content_sha256")  # instead of facts
_GAN_LEAST = 92  # bytes of a .gan file before its manifest
KEY = "gan-export.manifest"  # in ONNX metadata; the extra file of a TorchScript archive bears the same name
MANIFEST_MARKER = (
    KEY.encode() + b"\n"
)  # before a manifest that a zero byte ends, in formats whose own readers are heavy
OPTIONS_KEY = "overrides"  # among a manifest's options: the flags that the checkpoint was read with
REFERENCE_SEED = 0
REFERENCE_COUNT = 8
UNSEALED = "0" * 64  # of `content_sha256`, until the file is complete

OPENVINO_KEYS = ("gan-export", "manifest")  # of rt_info: an element in an element
_MOST_VALUES = 1 << 28  # of one picture
_MOST_REFERENCES = 1 << 28  # bytes of all of them: eight of 3 x 1024 x 1024 take 96 MiB
_MOST_LATENTS = 1 << 18  # as arch.spec's
_LARGEST_DIRECTORY = 1 << 22  # bytes of a zip archive's: of 50,000 entries, and an export has a hundred
_LARGEST_TEXT = 1 << 27  # bytes of a manifest, or of what one is looked for in

FormatName = Literal[
    "checkpoint", "onnx", "torchscript", "gan", "pt2", "openvino", "safetensors", "c", "aoti", "ncnn", "litert",
    "executorch", "coreml",
]  # fmt: skip
C_MANIFEST = "manifest.json"  # in a folder of C source
COREML_FILES, COREML_MODEL = "Manifest.json", "Data/com.apple.CoreML/model.mlmodel"  # in an .mlpackage
_NCNN_MAGIC = b"7767517\n"
GAN_MAGIC = b"\x89GAN\r\n\x1a\n"


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
            data = _parsed(text.encode())
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


def format_of(kind: FormatName) -> str:
    """The name of the exporter that writes such files."""
    return "native" if kind == "gan" else kind


def report_path(artifact: Path) -> Path:
    """Where the measured figures of an artifact lie."""
    return artifact.with_name(artifact.name + ".report.json")


def manifest_path(artifact: Path) -> Path:
    """Where the manifest of an artifact lies whose format has no place for it."""
    return artifact.with_name(artifact.name + ".manifest.json")


def files(path: Path) -> dict[str, Path]:
    """By name, relative to the folder that `path` lies in: itself, or what is in it, and weights beside it."""
    if path.is_dir():
        return {f.relative_to(path.parent).as_posix(): f for f in sorted(path.rglob("*")) if f.is_file()}
    names = [path.name]
    match detect_format(path):
        case "onnx":
            names += protobuf.external_files(path)
        case "openvino" | "ncnn":
            names.append(path.with_suffix(".bin").name)
    return {name: path.parent / name for name in names}


def size(path: Path) -> int:
    """Bytes of all of them."""
    return sum(f.stat().st_size for f in files(path).values())


def detect_format(path: Path) -> FormatName:
    """What a file is, by its first bytes and never by its name; a strange file or folder is a "checkpoint"."""
    if not path.is_file():
        return _folder_kind(path)
    with open(path, "rb") as f:
        head = f.read(8)
        if head == GAN_MAGIC:
            return "gan"
        if head.startswith(b"PK\x03\x04"):
            return _zip_kind(f)
        if head.startswith(b"<?xml") and _openvino_manifest(f) is not None:
            return "openvino"
        if head.startswith(_NCNN_MAGIC):
            return "ncnn"
        if head[4:8] == b"TFL3":
            return "litert"
        if re.fullmatch(rb"ET\d\d", head[4:8]):
            return "executorch"
        if _safetensors_metadata(f).get(KEY):
            return "safetensors"
        if head.startswith(b"\x08") and protobuf.looks_like_onnx(f):
            return "onnx"
    return "checkpoint"


def read_manifest(path: Path, kind: FormatName) -> Manifest | None:
    """The manifest inside an artifact, None where there is none; nothing of the file is run.

    Raises GanExportError if it isn't what gan-export writes, or if the file's own header says otherwise.
    """
    try:
        text = _manifest_text(path, kind)
        if not text:
            return None
        manifest = Manifest.from_json(text.decode("utf-8", "replace"))
        _hold(manifest, path, kind)
        return manifest
    except GanExportError as e:
        raise GanExportError(f"{printable(str(path))}: {e}") from None


def _hold(manifest: Manifest, path: Path, kind: FormatName) -> None:
    """Raises GanExportError if the manifest states another generator or format than the rest of the file."""
    if manifest.format != format_of(kind):
        raise GanExportError(
            f"its manifest is of {printable(manifest.format, 40)}, the file is {kind}; export it again"
        )
    if kind not in ("gan", "safetensors"):
        return
    with open(path, "rb") as f:
        there = gan_header.read(f) if kind == "gan" else _safetensors_facts(f)
    if there != ((manifest.arch, manifest.signature) if kind == "safetensors" else _as_header(manifest)):
        raise GanExportError("its manifest and its layers state different generators; export it again")


def _safetensors_facts(f: BinaryIO) -> tuple[str, Signature]:
    try:
        spec = GeneratorSpec.from_json(_parsed(_safetensors_metadata(f).get(SPEC_KEY, "null").encode()))
        return spec.arch, spec.signature
    except (ValueError, RecursionError):
        raise GanExportError("its layers can't be read; export it again") from None


def _as_header(manifest: Manifest) -> gan_header.Header:
    facts, types = manifest.facts, ("fp32", "fp16", "bf16")
    stored = types.index(manifest.precision) if manifest.precision in types else len(types)
    low, high = (np.float32(v).item() for v in facts.range or (-1.0, 1.0))
    prior = ("normal", "uniform").index(facts.prior)
    return gan_header.Header(facts.nz, prior, facts.classes, facts.image, (low, high), stored)


def _manifest_text(path: Path, kind: FormatName) -> bytes | None:
    if kind == "c":
        return (path / C_MANIFEST).read_bytes()
    if kind == "ncnn":
        beside = manifest_path(path)
        return beside.read_bytes() if beside.is_file() else None
    text: bytes | None = None
    with open(path / COREML_MODEL if kind == "coreml" else path, "rb") as f:
        if kind == "onnx":
            text = dict(protobuf.onnx_metadata(f)).get(KEY)
        elif kind == "coreml":
            text = dict(protobuf.coreml_metadata(f)).get(KEY)
        elif kind in ("torchscript", "pt2", "aoti"):
            text = _archive_entry(f, f"/extra/{KEY}")
        elif kind == "openvino":
            text = _openvino_manifest(f) or None
        elif kind in ("litert", "executorch"):
            text = _marked(f)
        elif kind == "safetensors":
            text = _safetensors_metadata(f)[KEY].encode("utf-8", "replace")
        elif kind == "gan":
            text = _gan_manifest(f)
    return text


def _gan_manifest(f: BinaryIO) -> bytes | None:
    """docs/gan-file-format.md: the manifest's offset and size are two u64 at byte 24."""
    head = f.read(40)
    if len(head) < 40:
        return None
    offset, size = struct.unpack_from("<QQ", head, 24)
    f.seek(0, 2)
    if offset < _GAN_LEAST or offset + size > f.tell():
        raise GanExportError("a .gan file that is cut off")
    f.seek(offset)
    return f.read(size)


def _folder_kind(path: Path) -> FormatName:
    try:
        if (path / COREML_MODEL).is_file() and "rootModelIdentifier" in _parsed((path / COREML_FILES).read_bytes()):
            return "coreml"
        if (path / C_MANIFEST).is_file() and _parsed((path / C_MANIFEST).read_bytes())["format"] == "c":
            return "c"
    except (OSError, ValueError, KeyError, TypeError, BudgetError):
        pass
    return "checkpoint"


def _parsed(text: bytes) -> Any:
    return read_json(text, Budget(len(text)))


def _zip_kind(f: BinaryIO) -> FormatName:
    """Of an archive with few entries; one with many is a checkpoint, which a stricter reader judges.

    That reader, `checkpoint.containers.zip`, is no floor below this one; what is found here decides nothing but who
    reads the file next: `runtimes.pt2_check` strictly again, or the runtime of a format that is a program anyway.
    """
    try:
        if _directory_size(f) > _LARGEST_DIRECTORY:
            return "checkpoint"
        with zipfile.ZipFile(f) as archive:
            names = archive.namelist()
    except _ZIP_DAMAGE:
        return "checkpoint"
    if any(n.endswith("/constants.pkl") for n in names) and any("/code/" in n for n in names):
        return "torchscript"
    if any("/data/aotinductor/" in n for n in names):
        return "aoti"
    return "pt2" if any(n.endswith("/archive_format") for n in names) else "checkpoint"


def _directory_size(f: BinaryIO) -> int:
    """Bytes of an archive's directory, as its end states them.  Source: APPNOTE 6.3.10, 4.3.14 to 4.3.16."""
    length = f.seek(0, 2)
    f.seek(max(0, length - 65_557))
    tail = f.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        raise zipfile.BadZipFile("no end")
    (size,) = struct.unpack_from("<I", tail, at + 12)
    if at < 20 or tail[at - 20 : at - 16] != b"PK\6\7":
        return int(size)
    (where,) = struct.unpack_from("<Q", tail, at - 12)
    f.seek(min(where, length) + 40)
    return max(size if size < 0xFFFFFFFF else 0, int.from_bytes(f.read(8), "little"))


def _openvino_manifest(f: BinaryIO) -> bytes | None:
    """An IR's manifest, b"" where it has none, None for another XML: found as text, since no entity is expanded."""
    f.seek(0)
    text = f.read(_LARGEST_TEXT)
    if not re.match(rb"<\?xml[^>]*\?>\s*<net ", text):
        return None
    inside = re.search(rb"<gan-export>\s*<manifest value=\"([^\"]*)\"", text)
    return html.unescape(inside[1].decode("utf-8", "replace")).encode() if inside else b""


def _marked(f: BinaryIO) -> bytes | None:
    """What lies between MARK and the next zero byte."""
    with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(MANIFEST_MARKER)
        end = data.find(b"\0", at)
        return data[at + len(MANIFEST_MARKER) : end] if 0 <= at < end else None


def _safetensors_metadata(f: BinaryIO) -> dict[str, str]:
    """`__metadata__` of a safetensors file; empty for a file that is none."""
    f.seek(0)
    head = f.read(9)
    size = int.from_bytes(head[:8], "little")
    if len(head) < 9 or head[8:] != b"{" or size > _LARGEST_TEXT:
        return {}
    f.seek(8)
    try:
        found = read_json(f.read(size), Budget(size)).get("__metadata__", {})
        return {k: v for k, v in found.items() if isinstance(v, str)}
    except (ValueError, AttributeError, RecursionError, BudgetError):
        return {}


# What zipfile raises for damage: a version or a method that it doesn't know, a password, a checksum, its own structs.
_ZIP_DAMAGE = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError,
    struct.error, LookupError,
)  # fmt: skip


def _archive_entry(f: BinaryIO, suffix: str) -> bytes | None:
    try:
        with zipfile.ZipFile(f) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(suffix) and entry.file_size < _LARGEST_TEXT:
                    with archive.open(entry) as inside:
                        return inside.read(_LARGEST_TEXT)
    except _ZIP_DAMAGE as e:
        raise GanExportError(
            f"damaged, its manifest can't be read: {first_line(e)}; export or fetch it again"
        ) from None
    return None
