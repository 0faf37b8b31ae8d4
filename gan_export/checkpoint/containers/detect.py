"""Detect the kind of a file by its content, never by its name."""

from __future__ import annotations

from pathlib import Path

from gan_export._lib.budget import Budget
from gan_export.checkpoint.containers import read_file, safetensors
from gan_export.checkpoint.containers.pickle_vm import PickleDamage
from gan_export.checkpoint.containers.torch import MAGIC_BYTES, ContainerContents, read_pickle, read_stream, read_zip
from gan_export.checkpoint.containers.zip import Archive
from gan_export.errors import GanExportError, printable

_SAVE = "save the generator with torch.save(model.state_dict(), ...)"
_TENSORFLOW_FILE = "only PyTorch checkpoints and safetensors are read"
_TABLE_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # of LevelDB's tables: TensorFlow's .index

# (offset, bytes, kind of the file and advice)
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself; run git lfs pull"),
    (0, b"\x89GAN\r\n\x1a\n", "an exported generator (.gan), not a checkpoint; gan-sample generates images from it"),
    (0, b"model_checkpoint_path:", f"the list of a TensorFlow checkpoint's files; {_TENSORFLOW_FILE}"),
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file (Keras?); only PyTorch checkpoints and safetensors are read; {_SAVE}"),
    (0, b"\x93NUMPY", f"a single NumPy array; {_SAVE}"),
    (0, b"GGUF", f"a GGUF file; {_SAVE}"),
    (0, b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (0, b"BZh", "compressed with bzip2; unpack it first"),
    (0, b"\xfd7zXZ\x00", "compressed with xz; unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (0, b"Rar!", "a RAR archive; unpack it first"),
    (0, b"\x89PNG\r\n\x1a\n", "an image (PNG), not a checkpoint"),
    (0, b"\xff\xd8\xff", "an image (JPEG), not a checkpoint"),
    (0, b"%PDF", "a PDF file, not a checkpoint"),
    (0, b"\x7fELF", "a program, not a checkpoint"),
    (4, b"TFL3", f"a TensorFlow Lite file, not a checkpoint; {_SAVE}"),
)  # fmt: skip
_TENSORFLOW = (b"VarHandleOp", b"AssignVariableOp", b"saved_model_main_op")  # operations that no ONNX graph has
_GRAPH_HEAD = 1 << 16  # bytes of a graph that are examined
_OLD_TAR = ("sys_info", "pickle", "tensors", "storages")  # members of PyTorch 0.1's format


def read_content(path: Path) -> tuple[str, str, ContainerContents, Budget]:
    """Return (name, sha256, content, remaining budget) of a file.

    Raises GanExportError, beginning with the file's name, for a file that can't be read.
    """
    snapshot = read_file.read_file(path)
    budget = Budget(len(snapshot.data))
    try:
        content = decode(snapshot.data, budget, snapshot.name)
    except GanExportError as e:
        raise type(e)(f"{printable(snapshot.name)}: {e}") from None
    content.size = len(snapshot.data)
    content.files = (path.absolute(),)
    return snapshot.name, snapshot.sha256, content, budget


def decode(data: memoryview, budget: Budget, name: str = "the file") -> ContainerContents:
    """Return the content of a file's bytes; `name` is only used in messages."""
    head = bytes(data[:512])
    if not head:
        raise GanExportError("the file is empty; fetch or save it again")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(Archive(data, budget), budget, name)
    if MAGIC_BYTES in head[:24]:
        return read_stream(data, budget)
    if safetensors.looks_like(data):
        return safetensors.read(data, budget)
    for offset, magic, what in _OTHERS:
        if head[offset : offset + len(magic)] == magic:
            raise GanExportError(what)
    if head[257:262] == b"ustar" or head[:100].rstrip(b"\0").decode("latin-1") in _OLD_TAR:
        raise _tar(head)
    if head[:1] == b"\x08" and any(op in bytes(data[:_GRAPH_HEAD]) for op in _TENSORFLOW):
        raise GanExportError("a TensorFlow SavedModel; only PyTorch checkpoints and safetensors are read")
    if bytes(data[-len(_TABLE_END) :]) == _TABLE_END:
        raise GanExportError(f"the index of a TensorFlow checkpoint; {_TENSORFLOW_FILE}")
    if _looks_like_onnx(head):
        raise GanExportError(
            f"an ONNX file, not a checkpoint; {_SAVE}; if gan-export wrote it, gan-export verify {printable(name)} "
            "checks it, unless it was cut off: then fetch it again"
        )
    return _pickle_or_nothing(data, head, budget)


def _zip(archive: Archive, budget: Budget, name: str) -> ContainerContents:
    names = list(archive.entries)
    # The entries are in a folder with the original name of the file, which can be any name.
    if any(n.split("/")[1:2] in (["constants.pkl"], ["code"]) for n in names):
        raise GanExportError(
            "a TorchScript archive, which is a program and isn't run to read it; save its weights with "
            "torch.save(module.state_dict(), ...); if gan-export wrote it, "
            f"gan-sample {printable(name)} generates images from it"
        )
    pickles = [n for n in names if n.rpartition("/")[2] == "data.pkl" and n.count("/") <= 1]
    if len(pickles) == 1:
        return read_zip(archive, pickles[0][: -len("data.pkl")], budget)
    if names and all(n.endswith(".npy") for n in names):
        raise GanExportError(f"an archive of NumPy arrays (.npz), not a checkpoint; {_SAVE}")
    if {"config.json", "model.weights.h5"} <= set(names):
        raise GanExportError(f"a Keras model; {_TENSORFLOW_FILE}")
    few = ", ".join(printable(n, 40) for n in names[:3]) or "nothing"
    what = "several checkpoints in one zip archive" if pickles else "a zip archive that is not a checkpoint"
    raise GanExportError(f"{what} (it contains {few}); if a checkpoint is inside, unpack it first")


def _tar(head: bytes) -> GanExportError:
    first = head[:100].split(b"\0", 1)[0].decode("latin-1").rsplit("/", 1)[-1]
    if first in _OLD_TAR:
        return GanExportError(
            "a checkpoint in the tar format of PyTorch 0.1, which isn't read; load and save it again with PyTorch"
        )
    return GanExportError("a tar archive; unpack it first")


def _looks_like_onnx(head: bytes) -> bool:
    """Return whether the bytes begin like a ModelProto: ir_version (field 1, a small number), then another field."""
    return len(head) > 3 and head[0] == 0x08 and 1 <= head[1] <= 64 and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x3A, 0x42)


def _pickle_or_nothing(data: memoryview, head: bytes, budget: Budget) -> ContainerContents:
    try:
        return read_pickle(data, budget)
    except PickleDamage as e:
        start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
            raise GanExportError("a web page, saved in place of the file; fetch the file itself") from None
        if head[0] == 0x80:
            raise GanExportError(f"damaged or cut off: its pickle can't be read, {e}; fetch the file again") from None
        if not any(b < 9 or 13 < b < 32 or b == 127 for b in head):
            raise GanExportError(f"text, not a checkpoint; {_SAVE}") from None
        raise GanExportError(f"not a known kind of checkpoint; {_SAVE}") from None
