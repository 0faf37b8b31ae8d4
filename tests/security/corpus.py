"""Files made to get past scanners of pickles, as published against picklescan, modelscan and fickling, and others.

Written by hand from the advisories' descriptions, never copied.  A payload that runs would leave a file called CANARY
in its working directory, or import the module of that name.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.checkpoint.makers import torch_stream, torch_zip
from tests.security.calls import CALLS, CANARY, CODE, TOUCH


def _text(s: str) -> bytes:
    raw = s.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _short(s: str) -> bytes:
    raw = s.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _tuple(args: tuple[str, ...]) -> bytes:
    return b"(" + b"".join(map(_text, args)) + b"t"


def _inner(raw: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(raw)) + raw


RUN = _global("os", "system") + _text(TOUCH) + b"\x85R"
REACH = f"(S'{TOUCH}'\nios\nsystem\n"  # by INST
# Ways to call that readers of opcodes have missed.
WAYS: dict[str, bytes] = {
    "reduce": b"\x80\x02" + RUN + b".",
    "inst": REACH.encode() + b".",
    "obj": b"(" + _global("os", "system") + _text(TOUCH) + b"o.",
    "newobj": b"\x80\x02" + _global("os", "system") + _text(TOUCH) + b"\x85\x81.",
    "newobj_ex": b"\x80\x04" + _global("os", "system") + _text(TOUCH) + b"\x85}\x92.",
    "popped": b"\x80\x02" + RUN + b"0}.",
    "pop_mark": b"\x80\x02(" + RUN + b"1}.",
    "no_protocol": RUN + b".",
    "protocol_after": RUN + b"\x80\x02.",
    "two_pickles": b"\x80\x02}.\x80\x02" + RUN + b".",
    "framed_wrongly": b"\x80\x04\x95\xff\xff\xff\x7f\x00\x00\x00\x00" + RUN + b".",
    "no_stop": b"\x80\x02" + RUN,
    "broken_after": b"\x80\x02" + RUN + b"\xff\xff",
    "stack_global_memo": b"\x80\x04"
    + _short("os")
    + b"\x94"
    + _short("system")
    + b"\x9400h\x00h\x01\x93"
    + _short(TOUCH)
    + b"\x85R.",
    "stack_global_put_and_memoize": b"\x80\x04"
    + _text("os")
    + b"q\x00"
    + _text("system")
    + b"q\x01"
    + _text("torch._utils")
    + b"\x94"
    + _text("_rebuild_tensor_v2")
    + b"\x94h\x00h\x01\x93"
    + _text(TOUCH)
    + b"\x85R.",
    "stack_global_of_bytes": b"\x80\x04C\x02osC\x06system\x93" + _text(TOUCH) + b"\x85R.",
    "stack_global_of_strings": b"\x80\x04U\x02osU\x06system\x93" + _text(TOUCH) + b"\x85R.",
    "stack_global_computed": b"\x80\x04"
    + _global("builtins", "str.lower")
    + _text("OS")
    + b"\x85R"
    + _text("system")
    + b"\x93"
    + _text(TOUCH)
    + b"\x85R.",
    "stack_global_of_a_join": b"\x80\x04"
    + _global("builtins", "str.join")
    + _text("")
    + b"]("
    + _text("o")
    + _text("s")
    + b"e\x86R"
    + _text("system")
    + b"\x93"
    + _text(TOUCH)
    + b"\x85R.",
    "unicode_name": b"\x80\x04" + _short("o\u017f") + _short("system") + b"\x93" + _short(TOUCH) + b"\x85R.",
    "name_with_newline": b"\x80\x04" + _short("torch\nos") + _short("system") + b"\x93" + _short(TOUCH) + b"\x85R.",
    "ext1": b"\x80\x02\x82\x01.",
    "ext2": b"\x80\x02\x83\x01\x00.",
    "ext4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "ext_registered_in_the_file": b"\x80\x02"
    + _global("copyreg", "add_extension")
    + _text("os")
    + _text("system")
    + b"K\x01\x87R0\x82\x01"
    + _text(TOUCH)
    + b"\x85R.",
    "dispatch_registered": b"\x80\x02"
    + _global("copyreg", "pickle")
    + _global("builtins", "int")
    + _global("os", "system")
    + b"\x86R.",
    "persid": b"Pos.system\n.",
    "binpersid": b"\x80\x02" + RUN + b"Q.",
    "persid_of_a_module": b"\x80\x02(" + _text("module") + _global(CANARY, "G") + _text("g.py") + _text(CODE) + b"tQ.",
    "build_setstate": b"\x80\x02"
    + _global("torch.nn.modules.module", "Module")
    + b")\x81}"
    + _text("__setstate__")
    + _global("os", "system")
    + b"sb"
    + _text(TOUCH)
    + b"b.",
    "build_class": b"\x80\x02"
    + _global("enum", "Enum")
    + b"}"
    + _text("__reduce__")
    + _global("os", "system")
    + b"sb.",
    "build_environ": b"\x80\x02" + _global("os", "environ") + b"}" + _text("PATH") + _text(".") + b"sb.",
    "build_slots": b"\x80\x02"
    + _global("collections", "OrderedDict")
    + b")RN}"
    + _text("__class__")
    + RUN
    + b"s\x86b.",
    "setitem_of_modules": b"\x80\x02" + _global("sys", "modules") + _text("json") + _global("os", "system") + b"s.",
    "appends_to_path": b"\x80\x02" + _global("sys", "path") + _text(".") + b"a.",
    "nested_load_from_bytes": b"\x80\x02"
    + _global("torch.storage", "_load_from_bytes")
    + _inner(torch_stream(RUN + b"."))
    + b"\x85R.",
    "nested_twice": b"\x80\x02"
    + _global("torch.storage", "_load_from_bytes")
    + _inner(torch_stream(_global("torch.storage", "_load_from_bytes") + _inner(torch_stream(RUN + b".")) + b"\x85R."))
    + b"\x85R.",
    "nested_zip": b"\x80\x02"
    + _global("torch.storage", "_load_from_bytes")
    + _inner(torch_zip(RUN + b"."))
    + b"\x85R.",
    "nested_pickle_loads": b"\x80\x02" + _global("pickle", "loads") + _inner(RUN + b".") + b"\x85R.",
    "nested_torch_load": b"\x80\x02"
    + _global("torch.serialization", "load")
    + _global("io", "BytesIO")
    + _inner(torch_stream(RUN + b"."))
    + b"\x85R\x85R.",
    "partial_of_a_partial": b"\x80\x02"
    + _global("functools", "partial")
    + _global("functools", "partial")
    + b"\x85R"
    + _global("os", "system")
    + b"\x85R.",
    "tensor_with_hooks": b"\x80\x02" + _global("torch._utils", "_rebuild_parameter") + b"N\x88" + RUN + b"\x87R.",
    "tensor_from_type": b"\x80\x02"
    + _global("torch._tensor", "_rebuild_from_type_v2")
    + b"("
    + _global("os", "system")
    + _global("torch", "Tensor")
    + _text(TOUCH)
    + b"\x85NtR.",
    "wrapper_subclass": b"\x80\x02"
    + _global("torch._utils", "_rebuild_wrapper_subclass")
    + b"("
    + _global(CANARY, "T")
    + b"NNNNNtR.",
    "device_named": b"\x80\x02" + _global("torch._utils", "_rebuild_device_tensor_from_numpy") + RUN + b"\x85R.",
    "ordered_dict_of_calls": b"\x80\x02"
    + _global("collections", "OrderedDict")
    + b"]"
    + RUN
    + _text("x")
    + b"\x86a\x85R.",
    "defaultdict_of_system": b"\x80\x02" + _global("collections", "defaultdict") + _global("os", "system") + b"\x85R.",
    "getattr_chain": b"\x80\x02"
    + _global("builtins", "getattr")
    + _global("builtins", "__import__")
    + _text("os")
    + b"\x85R"
    + _text("system")
    + b"\x86R"
    + _text(TOUCH)
    + b"\x85R.",
    "itemgetter_of_builtins": b"\x80\x02"
    + _global("operator", "itemgetter")
    + _text("exec")
    + b"\x85R"
    + _global("builtins", "__dict__")
    + b"\x85R"
    + _text(CODE)
    + b"\x85R.",
    "dotted": b"\x80\x04" + _short("torch") + _short("serialization.os.system") + b"\x93" + _short(TOUCH) + b"\x85R.",
    "dunder_chain": b"\x80\x04" + _short("collections") + _short("OrderedDict.__init__.__globals__") + b"\x93.",
    "bytearray_out_of_band": b"\x80\x05\x97.",
    "readonly_buffer": b"\x80\x05\x97\x98.",
    "self_reference": b"\x80\x02]q\x00h\x00a" + RUN + b"0.",
    "deep": b"\x80\x02" + b"]" * 20_000 + RUN + b"a" * 20_000 + b".",
}

CONTAINERS: dict[str, Callable[[bytes], bytes]] = {"zip": torch_zip, "stream": torch_stream, "plain": lambda raw: raw}
PAYLOAD = b"\x80\x02" + RUN + b"."


def _zip(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED, **of_all: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as z:
        for name, raw in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            for key, value in of_all.items():
                setattr(info, key, value)
            z.writestr(info, raw)
    return out.getvalue()


def _patched(raw: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Return a file with `value` at `offset` of every record that begins with `signature`."""
    data, at = bytearray(raw), raw.find(signature)
    while at >= 0:
        data[at + offset : at + offset + len(value)] = value
        at = raw.find(signature, at + 4)
    return bytes(data)


_LOCAL, _CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def _zips() -> Iterator[tuple[str, bytes]]:
    good = torch_zip(b"\x80\x02}.")
    evil = torch_zip(PAYLOAD)
    yield "wrong_crc.pt", _patched(evil, _CENTRAL, 16, b"\1\2\3\4")
    yield "wrong_crc_in_both.pt", _patched(_patched(evil, _CENTRAL, 16, b"\1\2\3\4"), _LOCAL, 14, b"\1\2\3\4")
    yield "no_crc.pt", _patched(_patched(evil, _CENTRAL, 16, bytes(4)), _LOCAL, 14, bytes(4))
    yield "flagged_encrypted.pt", _patched(evil, _LOCAL, 6, b"\1\0")
    yield "flagged_encrypted_in_both.pt", _patched(_patched(evil, _LOCAL, 6, b"\1\0"), _CENTRAL, 8, b"\1\0")
    yield "flagged_streamed.pt", _patched(evil, _LOCAL, 6, b"\x08\0")
    yield "other_name_in_local_header.pt", evil.replace(b"archive/data.pkl", b"archive/data.txt", 1)
    yield "other_size_in_local_header.pt", _patched(evil, _LOCAL, 18, struct.pack("<II", 1, 1))
    yield "unknown_method.pt", _patched(evil, _CENTRAL, 10, b"\x63\0")
    yield "data_twice.pt", _zip([("archive/data.pkl", b"\x80\x02}."), ("archive/data.pkl", PAYLOAD)])
    yield "data_in_other_case.pt", _zip([("archive/data.pkl", b"\x80\x02}."), ("archive/DATA.PKL", PAYLOAD)])
    yield "two_data.pt", _zip([("a/data.pkl", b"\x80\x02}."), ("b/data.pkl", PAYLOAD)])
    yield "data_of_another_suffix.pt", _zip([("archive/data.pt", PAYLOAD), ("archive/version", b"3")])
    yield (
        "escaping.pt",
        _zip([("archive/data.pkl", PAYLOAD), (f"../{CANARY}", b"x"), (f"archive/../../{CANARY}", b"x")]),
    )
    yield "absolute.pt", _zip([("archive/data.pkl", PAYLOAD), (f"/{CANARY}", b"x")])
    yield "windows_path.pt", _zip([("archive/data.pkl", PAYLOAD), (f"C:\\{CANARY}", b"x"), (f"..\\{CANARY}", b"x")])
    yield "link.pt", _zip([("archive/data.pkl", PAYLOAD), (CANARY, b"/etc/passwd")], external_attr=0o120777 << 16)
    yield "compressed.pt", _zip([("archive/data.pkl", PAYLOAD)], zipfile.ZIP_DEFLATED)
    yield "bzip2.pt", _zip([("archive/data.pkl", PAYLOAD)], zipfile.ZIP_BZIP2)
    yield "behind_a_pickle.pt", b"\x80\x02}." + evil
    yield "before_a_pickle.pt", evil + PAYLOAD
    yield "behind_a_program.pt", b"\x7fELF" + evil
    yield "two_ends.pt", good + evil
    yield "comment.pt", evil[:-2] + struct.pack("<H", len(PAYLOAD)) + PAYLOAD
    yield "overlapping.pt", _patched(evil, _CENTRAL, 42, bytes(4))
    yield "null_in_name.pt", evil.replace(b"archive/version", b"archive\0version")
    yield "nested_zip.pt", _zip([("archive/data.pkl", b"\x80\x02}."), ("archive/inner.pt", evil)])
    yield "seven_zip.pt", b"7z\xbc\xaf\x27\x1c\0\4" + zlib.crc32(PAYLOAD).to_bytes(4, "little") + PAYLOAD
    yield "gzip.pt", zlib.compress(PAYLOAD, wbits=31)
    yield "joblib.pt", zlib.compress(PAYLOAD)
    yield (
        "torch_package.pt",
        _zip(
            [
                ("p/.data/extern_modules", b"os"),
                ("p/.data/version", b"1"),
                ("p/model/model.pkl", PAYLOAD),
                (f"p/{CANARY}/__init__.py", CODE.encode()),
            ]
        ),
    )
    yield (
        "torchscript_as_checkpoint.pt",
        _zip(
            [
                ("m/constants.pkl", b"\x80\x02)."),
                ("m/data.pkl", PAYLOAD),
                ("m/code/__torch__.py", CODE.encode()),
                ("m/version", b"3"),
            ]
        ),
    )
    yield "tar_of_torch_01.pt", _tar("pickle", PAYLOAD)
    yield "nemo.nemo", _tar("model_weights.ckpt", evil)


def _tar(name: str, raw: bytes) -> bytes:
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for entry, data in ((name, raw), (f"../{CANARY}", b"x")):
            info = tarfile.TarInfo(entry)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo(CANARY)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return out.getvalue()


def arrays() -> Iterator[tuple[str, bytes]]:
    """Yield files of NumPy's formats that contain pickles, code and paths."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    npy = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + PAYLOAD
    yield "objects.npy", npy
    yield "objects.npz", _zip([("arr_0.npy", npy)])
    yield "pickle_in.npz", _zip([("arr_0.npy", PAYLOAD)])
    yield "escaping.npz", _zip([(f"../{CANARY}.npy", npy)])
    code = f"__import__('os').system('{TOUCH}')".encode()
    yield "code_in_header.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(code)) + code
    yield "pickle.npy", PAYLOAD


def checkpoints() -> dict[str, bytes]:
    """Return every file that is used as a checkpoint, or as latents, by its name."""
    found: dict[str, bytes] = {}
    for i, (module, name, args) in enumerate(CALLS):
        call = b"\x80\x02" + _global(module, name) + _tuple(args) + b"R."
        if i % 2:  # in turn, with the names on the stack
            call = b"\x80\x04" + _short(module) + _short(name) + b"\x93" + _tuple(args) + b"R."
        kind = list(CONTAINERS)[i % 3]
        found[f"call_{i:03d}_{module}.{name}.{kind}.pt".replace(CANARY, "own")] = CONTAINERS[kind](call)
    for way, raw in WAYS.items():
        for kind, container in CONTAINERS.items():
            found[f"way_{way}.{kind}.pt"] = container(raw)
    found |= {f"zip_{name}": raw for name, raw in _zips()}
    found |= {f"array_{name}": raw for name, raw in arrays()}
    found["header.safetensors"] = _safetensors(
        {"__metadata__": {"format": CODE, "gan-export.spec": PAYLOAD.decode("latin-1")}}
    )
    found["pickle_behind.safetensors"] = _safetensors({}) + PAYLOAD
    return found


def _safetensors(header: dict[str, object]) -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw


def texts() -> dict[str, str]:
    """Return recipes, suites, records and manifests that name code and paths, and that exceed a reader's limits."""
    run = f'__import__("os").system("{TOUCH}")'
    digits = "9" * 5000
    return {
        "code.toml": f"name = '''{run}'''\n[data]\nsource = '{run}'\n",
        "object.toml": '"!!python/object/apply:os.system" = ["touch ' + CANARY + '"]\n',
        "escape.toml": f'name = "../../{CANARY}"\n[data]\nsource = "folder"\npath = "/proc/self/environ"\n',
        "digits.toml": f"[train]\nbatch = {digits}\n",
        "hexadecimal.toml": f"[train]\nbatch = 0x{digits}\n",
        "deep.toml": "x = " + "[" * 5000 + "]" * 5000 + "\n",
        "dotted.toml": ".".join(["a"] * 60_000) + " = 1\n",
        "tables.toml": "[" + ".".join(["a"] * 60_000) + "]\n",
        "inline.toml": "x = {" + ".".join(["a"] * 60_000) + " = 1}\n",
        "deep.json": "[" * 100_000 + "]" * 100_000,
        "deep_tables.json": '{"a":' * 100_000 + "1" + "}" * 100_000,
        "barely_deep.json": '{"schema":' + "[" * 900 + "]" * 900 + "}",
        "digits.json": f'{{"schema": {digits}}}',
        "digits_within.json": f'{{"schema": "gan-export/bench/1", "created": {digits}}}',
        "huge_float.json": '{"schema": 1e999999, "version": -1e999999}',
        "not_a_number.json": '{"schema": NaN, "version": Infinity}',
        "list.json": "[]",
        "null.json": "null",
        "text.json": '"' + run.replace('"', "'") + '"',
        "empty.json": "",
        "surrogates.json": '{"schema": "\\ud800"}',
        "nul.json": '{"schema": "\\u0000"}',
        "latin.json": '{"schema": "\xff"}',
    }


def write(folder: Path) -> list[Path]:
    """Write `checkpoints` into a folder; return their paths."""
    made = []
    for name, raw in checkpoints().items():
        path = folder / name
        path.write_bytes(raw)
        made.append(path)
    return made
