"""What a file states of itself is held against the file and the verifier: forged exports, through the commands."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from gan_export import checkpoint
from gan_export.errors import GanExportError
from gan_export.exporters import EXPORTERS, gan_file
from gan_export.exporters import find as find_format
from gan_export.exporters.base import Options, unavailable_reason, write
from gan_export.formats import content, manifest, references, tolerance
from gan_export.formats.base import KEY, manifest_path
from gan_export.formats.c import C_MANIFEST
from gan_export.formats.manifest import Manifest
from gan_export.formats.registry import FORMATS
from gan_export.graph.views import LatentImage
from tests.conftest import ROOT, Artifacts, Command, Result, refused

WIDE = {"max_abs": 2.5, "byte_share": 1.0, "byte_step": 255, "psnr": None}
Change = Callable[[dict[str, Any]], None]


def manifest_of(path: Path) -> Manifest:
    found = manifest.read_manifest(path, manifest.detect_format(path))
    assert found is not None
    return found


def forge(path: Path, change: Change) -> None:
    """Rewrite the manifest of an ONNX, `.gan`, TorchScript, safetensors, IR, ncnn or C export as a forger would."""
    kind = manifest.detect_format(path)
    old = FORMATS.find(kind).manifest(path)
    assert old is not None
    data = json.loads(old)
    change(data)
    new = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    if kind in ("c", "ncnn"):
        (path / C_MANIFEST if kind == "c" else manifest_path(path)).write_bytes(new)
    elif kind == "onnx":
        model = onnx.load(path)
        next(p for p in model.metadata_props if p.key == KEY).value = new.decode()
        onnx.save(model, path)
    elif kind == "gan":
        write_gan(path, new)
    elif kind == "openvino":
        as_text = [text.strip().decode().replace('"', "&quot;").encode() for text in (old, new)]
        content_now = path.read_bytes()
        assert as_text[0] in content_now
        path.write_bytes(content_now.replace(*as_text))
    elif kind == "safetensors":
        raw = path.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + size])
        header["__metadata__"][KEY] = new.decode()
        text = json.dumps(header, separators=(",", ":")).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])
    else:
        with zipfile.ZipFile(path) as source:
            entries = [(e.filename, source.read(e)) for e in source.infolist()]
        with zipfile.ZipFile(path, "w") as made:
            for name, entry in entries:  # all of one date, so that the same entries give the same bytes
                made.writestr(zipfile.ZipInfo(name), new if name.endswith(f"/extra/{KEY}") else entry)


def write_gan(path: Path, manifest: bytes) -> None:
    """Another manifest in a `.gan` file, sizes, offsets and checksums made right: docs/gan-file-format.md."""
    raw = path.read_bytes()
    at, _, data = struct.unpack_from("<QQQ", raw, 24)
    head = bytearray(raw[:at] + manifest)
    head += bytes(-len(head) % gan_file.ALIGN)
    struct.pack_into("<Q", head, 16, len(head) + len(raw) - data)
    struct.pack_into("<QQQ", head, 24, at, len(manifest), len(head))
    path.write_bytes(gan_file.sealed(bytes(head), raw[data:]))


def hashed_again(path: Path) -> None:
    """The hash of the contents, as anyone can compute it."""
    digits = content.sha256(path)
    forge(path, lambda data: data.update(content_sha256=digits))


def copied(source: Path, folder: Path) -> Path:
    """An export with all its files."""
    if source.is_dir():
        return Path(shutil.copytree(source, folder / source.name))
    for file in {*manifest.files(source).values(), manifest_path(source)}:
        if file.is_file():
            shutil.copy(file, folder / file.name)
    return folder / source.name


def negated(source: Path, target: Path) -> Path:
    """An ONNX export whose last weights are times -0.7: other images."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.name == "convt3.weight":
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * -0.7, tensor.name))
    onnx.save(model, target)
    return target


def test_a_manifest_cannot_widen_the_tolerance(
    command: Command, artifacts: Artifacts, classic_pth: Path, tmp_path: Path
) -> None:
    """The trial of the issue: weights x -0.7 and a manifest that allows everything."""
    path = negated(artifacts["onnx"], tmp_path / "g.onnx")
    forge(path, lambda data: data.update(tolerance=WIDE, rounding=1.0))
    hashed_again(path)
    for arguments in ((path,), (path, classic_pth)):
        result = command("gan-export", "verify", *arguments)
        assert result.code == 1, result
        assert "DOES NOT MATCH" in result.out
        assert "WIDER TOLERANCE IN ITS MANIFEST: values within 2.5" in result.out
    # the caller of verify may allow it, and only that
    assert command("gan-export", "verify", path, classic_pth, "--max-error", 2.5).code == 0
    assert "must be above 0" in refused(command("gan-export", "verify", path, classic_pth, "--max-error", "nan"))


@pytest.mark.parametrize("version", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_wider_tolerance_is_a_failure_by_itself(
    command: Command, artifacts: Artifacts, classic_pth: Path, tmp_path: Path, version: int
) -> None:
    path = copied(artifacts["onnx"], tmp_path)

    def widen(data: dict[str, Any]) -> None:
        data.update(tolerance={**data["tolerance"], "max_abs": 3e-5})
        if version == 1:
            data["facts"] = {"arch": data["arch"], **asdict(of_latent(data))}
            data["version"] = 1
            del data["rounding"], data["content_sha256"], data["signature"], data["arch"]

    forge(path, widen)
    if version == 2:
        hashed_again(path)
    for arguments in ((path,), (path, classic_pth)) if version == 2 else ((path,),):
        result = command("gan-export", "verify", *arguments)
        assert result.code == 1, result
        assert "matches" in result.out
        assert "FAILED: its manifest states a wider tolerance" in result.out
        assert command("gan-export", "verify", *arguments, "--max-error", 3e-5).code == 0


def test_an_export_made_with_max_error_is_verified_with_it(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    path = tmp_path / "g.gan"
    assert command("gan-export", "native", classic_pth, "-o", path, "--max-error", 0.01).code == 0
    assert manifest_of(path).tolerance.max_abs == 0.01
    assert command("gan-export", "verify", path).code == 1
    assert command("gan-export", "verify", path, "--max-error", 0.01).code == 0


def test_the_table_has_each_precision_of_each_format() -> None:
    pairs = {(e.name, p) for e in EXPORTERS for p in e.precisions}
    assert pairs == {(f.exporter, precision) for f in FORMATS for precision in f.tolerances}


def test_a_precision_that_the_format_has_not_is_refused(command: Command, artifacts: Artifacts, tmp_path: Path) -> None:
    path = copied(artifacts["onnx"], tmp_path)
    forge(path, lambda data: data.update(precision="bf16"))
    assert "no tolerance is known for onnx in bf16" in refused(command("gan-export", "verify", path))


@pytest.mark.long
def test_rounding_is_measured_with_a_checkpoint_and_stated_without(
    command: Command, classic_pth: Path, tmp_path: Path
) -> None:
    """A checkpoint that float32 itself computes badly: a large value is added before a layer and taken off after."""
    state = torch.load(classic_pth)
    size = 100.0
    state["model.1.bias"] += size  # of a BatchNorm, before a ReLU
    state["model.4.running_mean"] += size * state["model.3.weight"].sum(dim=(0, 2, 3)) / 4
    harsh, path = tmp_path / "harsh.pth", tmp_path / "g.gan"
    torch.save(state, harsh)
    made = command("gan-export", "native", harsh, "-o", path)
    assert made.code == 0, made
    stated = manifest_of(path).rounding
    assert 2e-5 / 3 < stated == 2.0 ** round(np.log2(stated))
    report = json.loads(manifest.report_path(path).read_text())["parity"]
    assert report["tolerance"]["max_abs"] == pytest.approx(max(2e-5, 3 * report["rounding"]["error"]))
    assert report["rounding"]["error"] <= 4 * stated
    assert command("gan-export", "verify", path, harsh).code == 0
    # without the checkpoint the file's word counts, up to a bound
    forge(path, lambda data: data.update(rounding=1e6))
    hashed_again(path)
    assert "values within 0.0006," in command("gan-export", "verify", path).out


@pytest.mark.parametrize("error", [0.0, 1e-7, 6e-6, 1e-5, 1e-3, 0.3])
def test_only_rounding_that_widens_the_table_is_stated(error: float) -> None:
    stated = tolerance.worth_stating(error)
    assert stated == 0.0 if error < 2e-5 / 3 else error <= stated < 2 * error
    allowed = tolerance.rule("onnx", "fp32").given(tolerance.Rounding.stated(stated))
    assert allowed.max_abs == max(2e-5, 3 * min(stated, 2e-4))


def test_the_user_may_say_what_a_file_must_be(
    command: Command, artifacts: Artifacts, classic_pth: Path, tmp_path: Path
) -> None:
    """float32 weights that stray by 1 %, in a file that calls itself int8."""
    path, state = copied(artifacts["onnx"], tmp_path), torch.load(classic_pth)
    state["model.9.weight"] *= 1.01
    torch.save(state, tmp_path / "other.pth")
    lie = {**WIDE, "max_abs": None, "psnr": 28.0}
    forge(path, lambda data: data.update(precision="int8", tolerance=lie))
    shown = command("gan-export", "verify", path, tmp_path / "other.pth")
    assert shown.code == 0
    assert "judged as int8" in shown.out
    assert command("gan-export", "verify", path, tmp_path / "other.pth", "--precision", "fp32").code == 1
    path = copied(artifacts["native"], tmp_path)
    forge(path, lambda data: data.update(precision="fp16"))
    assert "state different generators" in refused(command("gan-export", "verify", path))


# ---- the hash of the contents ----

HASHED = [
    pytest.param(e.name, marks=() if e.name in ("onnx", "native", "c", "safetensors") else pytest.mark.long)
    for e in EXPORTERS
]


@pytest.fixture(scope="module")
def sealed(classic_pth: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """An export by its format's name, written and sealed, not run."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        exporter = find_format(name)
        if unavailable_reason(exporter):
            pytest.skip(unavailable_reason(exporter))
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / f"g{exporter.suffix}"
            if exporter.folder:
                made[name].mkdir()
            write(exporter, checkpoint.read(classic_pth), made[name], Options(external_data=name == "onnx"))
        return made[name]

    return get


@pytest.mark.parametrize("name", HASHED)
def test_the_contents_are_hashed_over_all_files(name: str, sealed: Callable[[str], Path], tmp_path: Path) -> None:
    path = copied(sealed(name), tmp_path)
    stated = manifest_of(path).content_sha256
    assert stated == content.sha256(path) != manifest.UNSEALED
    inside = sorted(f for f in tmp_path.rglob("*") if f.is_file())
    if name in ("onnx", "openvino", "ncnn", "c", "coreml"):
        assert len(inside) > 1
    for file in inside:
        whole = file.read_bytes()
        for at in (len(whole) // 3, len(whole) - 9):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with contextlib.suppress(GanExportError):
                assert content.sha256(path) != stated, (file.name, at)
            file.write_bytes(whole)
    assert content.sha256(path) == stated


@pytest.mark.parametrize("name", HASHED)
def test_a_sealed_file_is_a_sound_one(name: str, sealed: Callable[[str], Path]) -> None:
    """The checksums of the formats that have them cover the digits, too."""
    path = sealed(name)
    if name in ("torchscript", "pt2", "aoti"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
    if name == "native":
        raw = path.read_bytes()
        data = struct.unpack_from("<Q", raw, 40)[0]
        assert gan_file.sealed(raw[:data], raw[data:]) == raw


def test_the_digest_is_what_the_docs_say(sealed: Callable[[str], Path]) -> None:
    """Computed here by hand: of a file alone, and of a folder."""
    path = sealed("safetensors")
    raw = path.read_bytes().replace(manifest_of(path).content_sha256.encode(), b"0" * 64)
    by_hand = hashlib.sha256(struct.pack("<QQ", 0, len(raw)) + raw).hexdigest()
    assert by_hand == manifest_of(path).content_sha256
    folder, digest = sealed("c"), hashlib.sha256()
    for file in sorted(folder.iterdir()):
        raw = file.read_bytes()
        if file.name == "manifest.json":
            raw = raw.replace(manifest_of(folder).content_sha256.encode(), b"0" * 64)
        digest.update(struct.pack("<Q", len(file.name)) + file.name.encode() + struct.pack("<Q", len(raw)) + raw)
    assert digest.hexdigest() == manifest_of(folder).content_sha256


def test_altered_contents_are_not_run_without_a_checkpoint(
    command: Command, artifacts: Artifacts, classic_pth: Path, tmp_path: Path
) -> None:
    path = negated(artifacts["onnx"], tmp_path / "g.onnx")
    result = command("gan-export", "verify", path)
    assert result.code == 1
    assert "contents have changed since the export" in result.err
    assert result.out == ""
    result = command("gan-export", "verify", path, classic_pth)
    assert result.code == 1
    assert "contents: CHANGED since the export" in result.out
    hashed_again(path)  # altering the manifest alone doesn't help: its reference images are of the true weights
    result = command("gan-export", "verify", path)
    assert result.code == 1
    assert "DOES NOT MATCH" in result.out


def test_a_second_hash_or_none_is_refused(command: Command, artifacts: Artifacts, tmp_path: Path) -> None:
    path = copied(artifacts["onnx"], tmp_path)
    model = onnx.load(path)
    model.doc_string = 'content_sha256":"' + "0" * 64 + '"'
    onnx.save(model, path)
    assert "more than one hash" in refused(command("gan-export", "verify", path))


def test_external_data_outside_is_not_hashed(command: Command, artifacts: Artifacts, tmp_path: Path) -> None:
    """A path that leads out of the folder is refused before anything is read."""
    path = copied(artifacts["onnx"], tmp_path)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../secret")
    (tmp_path.parent / "secret").write_bytes(b"secret")
    path.write_bytes(model.SerializeToString())
    assert "it is refused" in refused(command("gan-export", "verify", path))


def test_files_of_version_1_are_read_and_verified(command: Command) -> None:
    for folder in ("mnist32", "mnist32-conditional"):
        path = ROOT / "exported" / folder / "generator.onnx"
        manifest = manifest_of(path)
        assert "content_sha256" not in json.loads(manifest.to_json()) or manifest.version == 2
        result = command("gan-export", "verify", path)
        assert result.code == 0, result
        assert manifest.version == 2 or "not hashed" in result.out


# ---- sizes, ranges and inputs ----


def of_latent(data: dict[str, Any]) -> LatentImage:
    """The latent and the image that a manifest states."""
    return LatentImage.of(Manifest.from_json(json.dumps(data)).signature, "this test")


def with_facts(data: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change what a manifest states of its generator, its facts given by their short names."""
    facts = of_latent(data)
    lying = replace(facts, **{k: tuple(v) if isinstance(v, list) else v for k, v in change(asdict(facts)).items()})
    data["signature"] = lying.signature().to_data()


LIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "nz": lambda facts: {"nz": facts["nz"] - 1},
    "nz more": lambda facts: {"nz": facts["nz"] + 28},
    "height": lambda facts: {"image": [1, facts["image"][1] * 2, facts["image"][2]]},
    "transposed": lambda facts: {"image": [facts["image"][2], facts["image"][1], 1]},
    "channels": lambda _: {"image": [3, 32, 32]},
    "labels": lambda facts: {"classes": 0 if facts["classes"] else 10},
}
SLOW = ("c", "torchscript", "pt2", "openvino", "safetensors", "ncnn", "aoti")
# Every lie for two formats; for each of the others one of the latents, one of the images and the labels, in turn.
RUN = [(name, lie) for name in ("onnx", "native") for lie in LIES] + [
    pytest.param(name, lie, marks=pytest.mark.long)
    for i, name in enumerate(SLOW)
    for lie in (("nz", "nz more")[i % 2], ("height", "transposed", "channels")[i % 3], "labels")
]


@pytest.mark.parametrize(("name", "lie"), RUN)
def test_sizes_that_are_not_the_models_are_one_line(
    command: Command, sealed: Callable[[str], Path], classic_pth: Path, tmp_path: Path, name: str, lie: str
) -> None:
    path = copied(sealed(name), tmp_path)
    forge(path, lambda data: with_facts(data, LIES[lie]))
    assert refused(of_program(command("gan-sample", path, "-n", 3, "-o", tmp_path / "many.npy"), name))
    assert not (tmp_path / "many.npy").exists()
    assert refused(of_program(command("gan-export", "verify", path, classic_pth), name))
    hashed_again(path)
    assert refused(of_program(command("gan-export", "verify", path), name))


def of_program(result: Result, name: str) -> Result:
    """Without the warning that precedes a program, and what AOTInductor's compiled code itself prints."""
    if name not in ("c", "torchscript", "aoti"):
        return result
    lines = result.err.splitlines(keepends=True)
    return replace(result, err="".join(line for line in lines if not line.startswith(("warning: ", "Error: "))))


def test_an_npy_holds_what_its_header_says(command: Command, sealed: Callable[[str], Path], tmp_path: Path) -> None:
    path = copied(sealed("native"), tmp_path)
    forge(path, lambda data: with_facts(data, lambda _: {"image": [1, 64, 64]}))
    assert "state different generators" in refused(command("gan-sample", path, "-n", 3, "-o", tmp_path / "i.npy"))
    path = copied(sealed("native"), tmp_path)
    assert command("gan-sample", path, "-n", 3, "-o", tmp_path / "i.npy").code == 0
    assert np.load(tmp_path / "i.npy").shape == (3, 32, 32, 1)


@pytest.mark.parametrize("change", [{"range": [0.0, 1.0]}, {"range": None}, {"prior": "uniform"}], ids=str)
@pytest.mark.parametrize("name", ["onnx", "native", "safetensors"])
def test_another_range_or_prior_than_the_checkpoints_is_one_line(
    command: Command, sealed: Callable[[str], Path], classic_pth: Path, tmp_path: Path, name: str, change: Any
) -> None:
    path = copied(sealed(name), tmp_path)
    forge(path, lambda data: with_facts(data, lambda _: change))
    if name == "onnx":
        hashed_again(path)
        assert "don't belong together" in refused(command("gan-export", "verify", path, classic_pth))
        return
    if change == {"range": None} and name == "native":
        return  # (-1, 1) stands in the header for both
    assert "state different generators" in refused(command("gan-export", "verify", path, classic_pth))
    assert "state different generators" in refused(command("gan-sample", path, "-o", tmp_path / "i.png"))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "c"},
        {"latent_law": "mine/1"},
        {"source_sha256": "../../etc"},
        {"content_sha256": "0"},
        {"rounding": -1.0},
        {"version": 1},
        {"version": 3},
        {"options": {"recalibrate": 1 << 40}},
        {"options": {"symbol": "../../x"}},
        {"options": {"isa": 3}},
        {"options": {"backend": []}},
    ],
    ids=str,
)
def test_a_manifest_that_no_exporter_writes_is_one_line(
    command: Command, sealed: Callable[[str], Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    path = copied(sealed("native"), tmp_path)
    forge(path, lambda data: data.update(change))
    for words in (("gan-export", "verify", path), ("gan-export", "inspect", path), ("gan-sample", path, "-n", 1)):
        assert refused(command(*words))


# ---- reference images ----


@pytest.mark.parametrize("image", [(1, 32, 32), (3, 64, 64), (3, 128, 128), (3, 256, 256), (1, 1000, 1000)], ids=str)
def test_reference_images_are_bounded(image: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(-1, 1, (8, *image))
    size = int(np.prod(image))
    held = references.unpack(references.pack(values), size, 8)
    assert len(held.values) <= 1 << 18
    assert held.step == 1 or len(held.values) > 1 << 16
    assert held.images == 8
    assert np.abs(held.values - held.of(values)).max() <= 2.0**-21
    columns = np.arange(0, 8 * size, held.step) % image[2]
    assert len(set(columns)) == image[2]  # every column has its turn
    first = held.of_first(3)
    assert first.images == 3
    assert np.abs(first.values - first.of(values[:3])).max() <= 2.0**-21


def test_reference_images_of_gigabytes_cost_no_more_than_true_ones(
    command: Command, sealed: Callable[[str], Path], tmp_path: Path
) -> None:
    """512 MB of zeros in half a MB of text: read as far as the true size goes, and refused."""
    import resource

    path = copied(sealed("native"), tmp_path)
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(1 << 24)) for _ in range(32)) + packer.flush()
    forge(path, lambda data: data.update(references=base64.b64encode(bomb).decode()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    hashed_again(path)
    assert "reference images" in refused(command("gan-export", "verify", path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_version_1_reference_images_are_read_as_far_as_the_bound_goes() -> None:
    values = np.random.default_rng(1).uniform(-1, 1, (8, 3, 256, 256))
    steps = np.rint(values * 2.0**20).astype("<i4")
    text = base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()
    held = references.unpack(text, 3 * 256 * 256, 8, whole=True)
    assert (held.step, len(held.values), held.images) == (1, 1 << 18, 2)
    assert np.abs(held.values - values.reshape(-1)[: 1 << 18]).max() <= 2.0**-21


def test_more_labels_than_the_model_takes(command: Command, tmp_path: Path) -> None:
    """The reference images have the labels 0 to 7 whatever a manifest states, so the last one is tried as well."""
    path = copied(ROOT / "exported" / "mnist32-conditional" / "generator.onnx", tmp_path)
    assert command("gan-export", "verify", path).code == 0
    forge(path, lambda data: data["signature"]["inputs"][1].update(classes=1000))
    hashed_again(path)
    assert "states 1,000 labels, but the model refuses the last" in refused(command("gan-export", "verify", path))
