"""The kind of a file follows from its content; each kind that isn't read has a message of its own."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gan_export.checkpoint import ReadOptions, read
from gan_export.errors import GanExportError

from .makers import generator, prefixed, same_weights, saved

NET = generator()
STATE = prefixed(NET.state_dict())


def refused(path: Path, match: str) -> None:
    with pytest.raises(GanExportError, match=match) as info:
        read(path)
    assert "\n" not in str(info.value)


def written(folder: Path, raw: bytes, name: str = "g.pth") -> Path:
    (folder / name).write_bytes(raw)
    return folder / name


# -- files that are read


def test_safetensors(tmp_path: Path) -> None:
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in STATE.items()}
        save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "g.bin", {"format": "pt"})
        checkpoint = read(tmp_path / "g.bin")
        assert checkpoint.source.container == "a safetensors file"
        assert checkpoint.source.sha256 == hashlib.sha256((tmp_path / "g.bin").read_bytes()).hexdigest()
        for name, key in checkpoint.reading.keys.items():
            want = next(v for k, v in state.items() if k.endswith(key)).float().numpy()
            np.testing.assert_array_equal(checkpoint.weights[name], want)


def test_sha256_and_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "g.pth", STATE)
    source = read(path).source
    assert (source.name, source.sha256) == ("g.pth", hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_link_to_a_file(tmp_path: Path) -> None:
    saved(tmp_path / "g.pth", STATE)
    (tmp_path / "link").symlink_to("g.pth")
    assert read(tmp_path / "link").source.name == "link"


def test_checksums_turned_off(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        saved(tmp_path / "g.pth", STATE)
    finally:
        torch.serialization.set_crc32_options(True)
    same_weights(read(tmp_path / "g.pth"), NET)


def test_big_endian(tmp_path: Path) -> None:
    saved(tmp_path / "g.pth", STATE)
    out = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "g.pth") as old, zipfile.ZipFile(out, "w") as new:
        for n in old.namelist():
            raw = old.read(n)
            if n.endswith("byteorder"):
                raw = b"big"
            if "/data/" in n:
                raw = np.frombuffer(raw, "<f4").astype(">f4").tobytes() if len(raw) != 8 else raw[::-1]
            new.writestr(n, raw)
    same_weights(read(written(tmp_path, out.getvalue(), "big.pth")), NET)


# -- folders


def folder_of(path: Path, parts: int, kind: str) -> Path:
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "dcgan"}')
    keys = list(STATE)
    shards = [keys[i::parts] for i in range(parts)]
    names = [
        f"{'model' if kind == 'safetensors' else 'pytorch_model'}-{i + 1:05}-of-{parts:05}.{kind}" for i in range(parts)
    ]
    if parts == 1:
        names = ["model.safetensors" if kind == "safetensors" else "pytorch_model.bin"]
    for name, part in zip(names, shards, strict=True):
        state = {k: STATE[k].contiguous() for k in part}
        save_file(state, path / name) if kind == "safetensors" else torch.save(state, path / name)
    if parts > 1:
        index = {
            "metadata": {"total_size": 1},
            "weight_map": {k: n for n, part in zip(names, shards, strict=True) for k in part},
        }
        stem = "model.safetensors" if kind == "safetensors" else "pytorch_model.bin"
        (path / f"{stem}.index.json").write_text(json.dumps(index))
    return path


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_hugging_face_folders(tmp_path: Path, parts: int, kind: str) -> None:
    folder = folder_of(tmp_path / "repo", parts, kind)
    checkpoint = read(folder)
    same_weights(checkpoint, NET)
    assert checkpoint.source.name == "repo"
    assert checkpoint.source.container.startswith("a folder with")
    files = [p for p in sorted(folder.iterdir()) if p.name != "config.json"]
    lines = "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files)
    assert checkpoint.source.sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_folders_that_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "without a model")
    (tmp_path / "several").mkdir()
    for name in ("a.pth", "b.pth"):
        saved(tmp_path / "several" / name, STATE)
    refused(tmp_path / "several", r"several models \(a.pth, b.pth\)")
    folder = folder_of(tmp_path / "lost", 3, "safetensors")
    (folder / "model-00002-of-00003.safetensors").unlink()
    refused(folder, "model-00002-of-00003.safetensors.*can't be read")


@pytest.mark.parametrize("shard", ["../secret", "/etc/passwd", "..", "a/b", "", "a\\b"])
def test_shards_outside_their_folder(tmp_path: Path, shard: str) -> None:
    folder = folder_of(tmp_path / "f", 3, "safetensors")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["model.0.weight"] = shard
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "outside its folder")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', "[" * 100_000, '{"weight_map": {}}']
)
def test_broken_indexes(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    refused(tmp_path, "not an index of shards|no state dict")


# -- files that are something else


class Net(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z * 2


def tar_of(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"data"))
    return out.getvalue()


def zip_of(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name in names:
            z.writestr(name, b"data")
    return out.getvalue()


def npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.zeros(3))
    return out.getvalue()


KINDS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "zip of something else": (
        zip_of("word/document.xml", "a.txt"),
        "zip archive that is not a checkpoint.*document.xml",
    ),
    "empty zip": (zip_of(), "zip archive that is not a checkpoint"),
    "npz": (npz(), "NumPy arrays"),
    "two checkpoints": (zip_of("a/data.pkl", "b/data.pkl"), "several checkpoints"),
    "web page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n", "git lfs pull"),
    "text": (b"Hello, this is a text.\n" * 50, "text, not a checkpoint"),
    "json": (b'{"a": 1}', "text, not a checkpoint"),
    "gzip": (gzip.compress(b"data"), "gzip"),
    "tar": (tar_of("a.pth"), "tar archive"),
    "torch 0.1": (tar_of("sys_info", "pickle", "tensors", "storages"), r"PyTorch 0\.1"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "an image"),
    "own": (b"\x89GAN\r\n\x1a\n" + bytes(100), "gan-sample"),
    "noise": (hashlib.sha256(b"1").digest() * 40, "not a known kind of checkpoint|damaged"),
    "zeros": (bytes(10_000), "not a known kind of checkpoint"),
    "one byte": (b"\x80", "damaged or cut off"),
    "numpy": (b"\x93NUMPY\x01\x00" + bytes(100), "NumPy array"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds(tmp_path: Path, kind: str) -> None:
    raw, match = KINDS[kind]
    refused(written(tmp_path, raw), match)


def test_torchscript(tmp_path: Path) -> None:
    for module in (torch.jit.script(Net()), torch.jit.trace(generator(), torch.zeros(1, 12, 1, 1))):
        module.save(str(tmp_path / "g.pt"))
        refused(tmp_path / "g.pt", "TorchScript archive.*isn't run")


def test_onnx(tmp_path: Path) -> None:
    import onnx

    value = onnx.helper.make_tensor_value_info("x", 1, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "g.pth")
    refused(tmp_path / "g.pth", "gan-export verify g.pth checks it, unless it was cut off: then fetch it again")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_cut_off(tmp_path: Path, zipped: bool, share: float) -> None:
    path = saved(tmp_path / "g.pth", STATE, _use_new_zipfile_serialization=zipped)
    raw = path.read_bytes()
    refused(written(tmp_path, raw[: int(len(raw) * share)]), "cut off|damaged")


def test_cut_off_safetensors(tmp_path: Path) -> None:
    save_file({k: v.contiguous() for k, v in STATE.items()}, tmp_path / "g")
    raw = (tmp_path / "g").read_bytes()
    for share in (0.001, 0.5, 0.99):
        refused(written(tmp_path, raw[: int(len(raw) * share)]), "cut off|damaged")


ONE = b'{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'


@pytest.mark.parametrize("header", [
    b"{", b'{"a": 3}', b'{"a": {}}', b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}',
    b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}',
    b'{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}',
    b'{"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
    b'{"a": ' + ONE + b', "b": ' + ONE + b"}",
    b'{"a": ' + ONE + b', "a": ' + ONE.replace(b"0, 4", b"4, 8") + b"}",
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', b"{" * 50_000,
    b'{"a": {"dtype": "F32", "shape": [' + b"1," * 40 + b'1], "data_offsets": [0, 4]}}',
])  # fmt: skip
def test_forged_safetensors(tmp_path: Path, header: bytes) -> None:
    refused(written(tmp_path, struct.pack("<Q", len(header)) + header + bytes(8)), "safetensors file|not a table")


# -- what is no regular file


def test_what_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.pth", "No such file")
    os.mkfifo(tmp_path / "fifo")
    refused(tmp_path / "fifo", "a FIFO")
    refused(Path("/dev/zero"), "a device")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    refused(tmp_path / "a", "can't be read")
    refused(tmp_path / ("x" * 5000), "can't be read")
    refused(Path("a\0b"), "not a path")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_unreadable(tmp_path: Path) -> None:
    path = saved(tmp_path / "g.pth", STATE)
    path.chmod(0)
    refused(path, "Permission denied")


def test_a_sparse_giant(tmp_path: Path) -> None:
    with open(tmp_path / "g.pth", "wb") as f:
        f.truncate(1 << 40)
    refused(tmp_path / "g.pth", "1024.0 GiB")


def test_names_are_printed_escaped(tmp_path: Path) -> None:
    path = written(tmp_path, b"", "\x1b[31mred\n.pth")
    with pytest.raises(GanExportError) as info:
        read(path)
    assert str(info.value).isprintable()


WRITER = """
import sys
one, two = (open(p, "rb").read() for p in sys.argv[2:])
print("ready", flush=True)
with open(sys.argv[1], "r+b", buffering=0) as f:
    while True:
        for raw in (one, two):
            f.seek(0)
            for at in range(0, len(raw), 65536):
                f.write(raw[at : at + 65536])
"""


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """Two states of one size written over each other: what is read is one of them, or refused."""
    wide = prefixed(generator(width=48).state_dict())
    paths = [saved(tmp_path / name, {k: v + i for k, v in wide.items()}) for i, name in enumerate(("a", "b"))]
    hashes = {hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}
    path = written(tmp_path, paths[0].read_bytes())
    outcomes = dict.fromkeys(("read", "mixed", "changed", "damaged"), 0)
    with subprocess.Popen([sys.executable, "-c", WRITER, path, *paths], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        for _ in range(40):
            try:
                checkpoint = read(path)
                outcomes["read" if checkpoint.source.sha256 in hashes else "mixed"] += 1
            except GanExportError as e:
                outcomes["changed" if "changed while it was read" in str(e) else "damaged"] += 1
        writer.kill()
    assert outcomes["changed"], outcomes
    assert not outcomes["mixed"], outcomes


def test_overrides_reach_the_architecture(tmp_path: Path) -> None:
    path = saved(tmp_path / "g.pth", STATE)
    assert read(path, ReadOptions(bn_eps=0.5)).spec != read(path).spec
    with pytest.raises(GanExportError, match="arch="):
        read(path, ReadOptions(arch="nonesuch"))
