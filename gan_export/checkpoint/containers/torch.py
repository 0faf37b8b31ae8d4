"""Read PyTorch's file formats as data: zip (since 1.6), the stream of pickles before 1.6, and plain pickles.

Sources of the layouts: torch/serialization.py (`_save`, `_legacy_save`) and caffe2/serialize/inline_container.h.  All
pickles are read by `pickle_vm.PickleInterpreter`.  It is stricter than `torch.load(weights_only=True)`, which imports
the classes that it trusts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

from gan_export._lib.budget import Budget
from gan_export.checkpoint.containers import pickle_builders
from gan_export.checkpoint.containers.denylist import Names, named_first, warning
from gan_export.checkpoint.containers.pickle_vm import PickleDamage, PickleInterpreter
from gan_export.checkpoint.containers.tensors import ITEMSIZES, Storage
from gan_export.checkpoint.containers.zip import Archive
from gan_export.errors import GanExportError, HostileFileError, printable

MAX_PICKLE = 256 << 20  # the pickle without the weights, except for plain pickles, which contain them
MAGIC = 0x1950A86A20F9469CFC6C
MAGIC_BYTES = MAGIC.to_bytes(10, "little")
MAX_STORAGE_KEY = 256  # characters; torch uses numbers
_PROTOCOL = 1001
_STREAM = 60  # steps per stream


@dataclass(slots=True)
class ContainerContents:
    """The content of a file: its container in words, its value, and the names in it without a builder.

    spec: the generator's spec as text, if gan-export wrote the file
    files: all files that were read
    """

    container: str
    root: object
    names: Names = field(default_factory=Names)
    size: int = 0
    spec: str | None = None
    files: tuple[Path, ...] = ()


# -- zip


def read_zip(archive: Archive, folder: str, budget: Budget) -> ContainerContents:
    """Return the value of `folder/data.pkl`, whose tensors are in `folder/data/`."""
    archive.refuse_tricks()
    raw = archive.checked(f"{folder}data.pkl")
    if len(raw) > MAX_PICKLE:
        raise GanExportError(f"a pickle of {len(raw):,} bytes; save only the generator's state_dict")
    big = f"{folder}byteorder" in archive.entries and bytes(archive.checked(f"{folder}byteorder")) == b"big"
    storages: dict[str, Storage] = {}
    names = Names()

    def persistent(identity: object) -> object:
        kind, key, _, numel, _ = _identity(identity)
        dtype = pickle_builders.storage_dtype(kind)
        known = storages.get(key)
        if known is None:
            entry = archive.entries.get(f"{folder}data/{key}")
            if entry is None:
                raise GanExportError(f"the bytes of storage {printable(key, 40)} are missing; fetch the file again")
            if entry.size != numel * ITEMSIZES[dtype]:
                raise GanExportError(
                    f"storage {printable(key, 40)} claims {numel:,} elements of {dtype}, the file has {entry.size:,} "
                    "bytes: damaged or forged"
                )
            known = Storage(dtype, numel, archive.bytes_of(entry.name), entry.crc or None, big)
            storages[key] = known
        if (known.dtype, known.numel) != (dtype, numel):
            raise GanExportError(f"storage {printable(key, 40)} is claimed in two ways: damaged or forged")
        return known

    machine = PickleInterpreter(raw, persistent, names, budget)
    with named_first(names):
        try:
            root = machine.run()
        except PickleDamage as e:
            raise GanExportError(f"damaged: its pickle can't be read, {e}; fetch the file again") from None
    return ContainerContents("a PyTorch checkpoint", root, names)


def _identity(identity: object) -> tuple[object, str, str, int, object]:
    """Return (storage type, key, location, elements, view) of a persistent id."""
    if isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage":
        _, kind, key, location, numel, *view = identity
        words = isinstance(key, str) and isinstance(location, str) and len(key) <= MAX_STORAGE_KEY
        if words and type(numel) is int and 0 <= numel < 1 << 62:
            return kind, key, location, numel, view[0] if view else None
    raise GanExportError("a reference to an object that is not a tensor storage: damaged or forged")


# -- before zip


def read_stream(data: memoryview, budget: Budget) -> ContainerContents:
    """Read a stream: magic number, protocol, the writer's sizes, the value, storage keys, bytes of each storage."""
    names = Names()
    with named_first(names):
        try:
            return ContainerContents(
                "a PyTorch checkpoint of the format before 1.6", _stream_value(data, names, budget), names
            )
        except PickleDamage as e:
            raise GanExportError(f"damaged or cut off: its pickle can't be read, {e}; fetch the file again") from None


def _stream_value(data: memoryview, names: Names, budget: Budget) -> object:
    budget.spend(_STREAM)
    storages: dict[str, Storage] = {}

    def persistent(identity: object) -> object:
        if isinstance(identity, tuple) and identity[:1] == ("module",) and len(identity) == 4:
            return identity[1]  # a class with its source code, which is ignored
        kind, key, _, numel, view = _identity(identity)
        dtype = pickle_builders.storage_dtype(kind)
        known = storages.setdefault(key, Storage(dtype, numel, None))
        if (known.dtype, known.numel) != (dtype, numel):
            raise GanExportError(f"storage {printable(key, 40)} is claimed in two ways: damaged or forged")
        if view is not None:
            raise GanExportError("a tensor in a view of a storage, as PyTorch wrote them before 0.4; save it again")
        return known

    machine = PickleInterpreter(data, persistent, names, budget)
    magic, protocol, sizes = machine.run(), _next(machine), _next(machine)
    if magic != MAGIC or protocol != _PROTOCOL or not isinstance(sizes, dict):
        raise GanExportError("a PyTorch file of an unknown version; save it again with torch.save")
    little = sizes.get("little_endian", True) is True
    value, keys = _next(machine), _next(machine)
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys) or len(set(keys)) != len(keys):
        raise GanExportError("damaged: the list of its storages can't be read; fetch the file again")
    position = machine.position
    budget.spend(4 * len(keys))
    for key in keys:
        storage = storages.get(key)
        if storage is None:
            raise GanExportError(f"storage {printable(key, 40)} belongs to no tensor: damaged or forged")
        if position + 8 > len(data):
            raise GanExportError("cut off: a tensor's bytes are missing; fetch the file again")
        (numel,) = struct.unpack_from("<q" if little else ">q", data, position)
        position += 8
        if numel != storage.numel:
            raise GanExportError(
                f"storage {printable(key, 40)} claims {storage.numel:,} and {numel:,} elements: damaged"
            )
        if position + storage.nbytes > len(data):
            raise GanExportError(
                f"cut off: storage {printable(key, 40)} claims {storage.nbytes:,} bytes, the file has "
                f"{len(data) - position:,} left; fetch the file again"
            )
        storage.data = data[position : position + storage.nbytes]
        storage.big_endian = not little
        position += storage.nbytes
    return value


def _next(machine: PickleInterpreter) -> object:
    """Return the value of the stream's next pickle, which has its own stack and memo."""
    following = PickleInterpreter(
        machine.data, machine.persistent, machine.names, machine.budget, position=machine.position
    )
    try:
        return following.run()
    finally:
        machine.position = following.position


# -- plain pickles


def read_pickle(data: memoryview, budget: Budget) -> ContainerContents:
    """Read a state dict or arrays that were pickled without torch.save.  Raises PickleDamage if this is not a pickle.

    Each storage in such a file is a stream of the old format within the pickle.
    """
    names = Names()
    left = 2 * len(data)  # bytes; each stream is read once, and a repeated one would cost its length each time

    def persistent(identity: object) -> object:
        raise GanExportError("a pickle that refers to something outside it; save the state_dict with torch.save")

    def embedded(raw: memoryview) -> object:
        nonlocal left
        left -= len(raw)
        if left < 0:
            raise GanExportError("a pickle that repeats its tensors without end: forged")
        return _stream_value(raw, names, budget)

    machine = PickleInterpreter(data, persistent, names, budget, embedded=embedded)
    with named_first(names):
        try:
            root = machine.run()
            if machine.position != len(data):
                raise PickleDamage(f"{len(data) - machine.position:,} bytes follow the pickle's end")
        except PickleDamage as e:
            if not names.code:
                raise
            raise HostileFileError(f"{warning(names.code)}; its pickle can't be read, {e}") from None
    return ContainerContents("a Python pickle", root, names)
