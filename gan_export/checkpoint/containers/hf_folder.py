"""Read a folder in the Hugging Face layout: config.json, and one file of weights or shards with their index."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gan_export._lib.budget import Budget, read_json
from gan_export.checkpoint.containers import read_file
from gan_export.checkpoint.containers.denylist import Names
from gan_export.checkpoint.containers.detect import decode
from gan_export.checkpoint.containers.read_file import FileBytes
from gan_export.checkpoint.containers.torch import ContainerContents
from gan_export.checkpoint.state_dicts import tensors_of
from gan_export.errors import GanExportError, printable

_INDEXES = ("model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json",
            "pytorch_model.bin.index.json", "diffusion_pytorch_model.bin.index.json")  # fmt: skip
_WHOLE = ("model.safetensors", "generator.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin",
          "generator.bin", "diffusion_pytorch_model.bin")  # fmt: skip
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".pkl")
MAX_SHARDS = 256
MAX_INDEX = 64 << 20


def read_folder(folder: Path) -> tuple[str, str, ContainerContents, Budget]:
    """Return (name, sha256, content, remaining budget) of a folder.

    Raises GanExportError if it contains no model, or several.
    """
    shown = printable(str(folder))
    try:
        here = sorted(p.name for p in folder.iterdir())
    except OSError as e:
        raise GanExportError(f"{shown} can't be read: {e.strerror or e}; check the path and its rights") from None
    index = next((n for n in _INDEXES if n in here), None)
    if index is not None:
        taken, content, budget = _sharded(folder, index)
    else:
        taken, content, budget = _single(folder, here)
    content.size = sum(len(s.data) for s in taken)
    content.files = tuple(folder.absolute() / s.name for s in taken)
    lines = sorted(f"{s.sha256}  {s.name}\n" for s in taken)
    lines.sort(key=lambda line: line[66:])
    digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    return folder.resolve().name, digest, content, budget


def _single(folder: Path, here: list[str]) -> tuple[list[FileBytes], ContainerContents, Budget]:
    shown = printable(str(folder))
    known = [n for n in _WHOLE if n in here][:1]
    named = known or [n for n in here if n.endswith(_SUFFIXES[0])] or [n for n in here if n.endswith(_SUFFIXES[1:])]
    if not named and "saved_model.pb" in here:
        raise GanExportError(f"{shown} is a TensorFlow SavedModel; only PyTorch checkpoints and safetensors are read")
    if not named and any(n.endswith(".ckpt.index") or (".ckpt-" in n and n.endswith(".index")) for n in here):
        raise GanExportError(f"{shown} has a TensorFlow checkpoint; only PyTorch checkpoints and safetensors are read")
    if not named and "model_index.json" in here:
        raise GanExportError(f"{shown} is a pipeline of several networks (diffusers); name the file of one of them")
    if not named:
        raise GanExportError(f"{shown} is a folder without a model in it; name a checkpoint file")
    if len(named) > 1:
        few = ", ".join(printable(n, 40) for n in named[:6])
        raise GanExportError(f"{shown} is a folder with several models ({few}); name one of them")
    snapshot = read_file.read_file(folder / named[0])
    budget = Budget(len(snapshot.data))
    content = _decoded(snapshot, budget)
    return [snapshot], ContainerContents(f"a folder with {content.container[2:]}", content.root, content.names), budget


def _sharded(folder: Path, index: str) -> tuple[list[FileBytes], ContainerContents, Budget]:
    first = read_file.read_file(folder / index)
    where = printable(f"{folder.name}/{index}")
    try:
        if len(first.data) > MAX_INDEX:
            raise ValueError
        budget = Budget(len(first.data))
        table = read_json(first.data, budget)["weight_map"]
        keys: dict[str, list[str]] = {}  # by shard
        for key, name in table.items():
            if not isinstance(name, str):
                raise ValueError
            keys.setdefault(name, []).append(key)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise GanExportError(f"{where} is not an index of shards; fetch it again") from None
    names = sorted(keys)
    if len(names) > MAX_SHARDS:
        raise GanExportError(f"{where} names {len(names):,} shards, more than any generator has")
    taken, tensors, size, found = [first], {}, 0, Names()
    for name in names:
        if Path(name).name != name or "\\" in name or name in ("", ".", ".."):
            raise GanExportError(f"{where} names a shard outside its folder, {printable(name, 60)}: forged")
        snapshot = read_file.read_file(folder / name, "a shard")
        size += len(snapshot.data)
        if size > read_file.MAX_BYTES:
            raise GanExportError(f"{where}: its shards have over 4 GiB, more than any supported generator")
        budget.enlarge(len(snapshot.data))
        content = _decoded(snapshot, budget)
        inside = tensors_of(content.root, budget)
        budget.spend(4 * len(keys[name]))
        for key in keys[name]:
            if key not in inside:
                raise GanExportError(
                    f"{where}: {printable(key, 60)} is missing in {printable(name, 60)}; fetch it again"
                )
            tensors[key] = inside[key]
        found.merge(content.names)
        taken.append(snapshot)
    kind = "safetensors" if names and names[0].endswith(".safetensors") else "PyTorch"
    return (
        taken,
        ContainerContents(f"a folder with {len(names)} {kind} shards", {k: tensors[k] for k in table}, found),
        budget,
    )


def _decoded(snapshot: FileBytes, budget: Budget) -> ContainerContents:
    try:
        return decode(snapshot.data, budget, snapshot.name)
    except GanExportError as e:
        raise type(e)(f"{printable(snapshot.name)}: {e}") from None
