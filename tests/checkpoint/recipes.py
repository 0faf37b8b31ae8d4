"""Files made from recipes: a few numbers that say how wide, deep, long, shared and cyclic their parts are."""

from __future__ import annotations

import json
import pickle
import random
import struct
import zlib
from collections.abc import Callable

MOST_BYTES = 3_000_000  # of a file
Recipe = dict[str, int]  # "kind" is an index of KINDS

# -- writing pickles by hand


def _text(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _name(module: str, qualname: str) -> bytes:
    return f"c{module}\n{qualname}\n".encode()


def _put(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def _get(index: int) -> bytes:
    return b"h" + bytes([index]) if index < 256 else b"j" + struct.pack("<I", index)


def _int(n: int) -> bytes:
    return b"J" + struct.pack("<i", n)


TEXTS: tuple[Callable[[int], str], ...] = (
    lambda n: "a" * n,
    lambda n: "1a" * (n // 2),
    lambda n: "a1_" * (n // 3),
    lambda n: "_" * n,
    lambda n: "module." * (n // 7),
    lambda n: "a." * (n // 2),
    lambda n: "\U0001f600" + "a" * n,
    lambda n: "netG." * (n // 5),
    lambda n: "parametrizations.weight." * (n // 24),
    lambda n: "\x1b" * n,
)
_STORAGE = b"(" + _text("storage") + _name("torch", "FloatStorage") + _text("0") + _text("cpu") + _int(4096) + b"tQ"
_STREAM = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2)
    + pickle.dumps({"little_endian": True}, 2)
    + b"\x80\x02N.\x80\x02]."
)


def _tensor(shape: tuple[int, ...]) -> bytes:
    """A window on the one storage, which is in memo 9."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    sizes = b"(" + b"".join(map(_int, shape)) + b"t"
    steps = b"(" + b"".join(map(_int, strides)) + b"t"
    ordered = _name("collections", "OrderedDict") + b")R"
    return (
        _name("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + _get(9)
        + _int(0)
        + sizes
        + steps
        + b"\x89"
        + ordered
        + b"tR"
    )


def _as_zip(value: bytes) -> bytes:
    return archive([("a/data.pkl", value), ("a/data/0", bytes(4 * 4096))])


def archive(files: list[tuple[str, bytes]], extra: int = 0) -> bytes:
    """A zip archive of stored files, `extra` bytes of extra fields with each entry of its directory."""
    body, entries = bytearray(), bytearray()
    fields = (b"\x07\x00\x00\x00" * (extra // 4))[:65_000]
    for name, raw in files:
        encoded, crc = name.encode()[:65_000], zlib.crc32(raw)
        entries += b"PK\x01\x02" + struct.pack(
            "<HHHHHHIIIHHHHHII",
            20,
            20,
            0,
            0,
            0,
            0,
            crc,
            len(raw),
            len(raw),
            len(encoded),
            len(fields),
            0,
            0,
            0,
            0,
            len(body),
        )
        entries += encoded + fields
        body += b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, crc, len(raw), len(raw), len(encoded), 0)
        body += encoded + raw
    count = min(len(files), 0xFFFF)
    end64 = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, len(files), len(files), len(entries), len(body))
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, len(body) + len(entries), 1)
    tail = end64 + locator if len(files) >= 0xFFFF else b""
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(entries), len(body), 0)
    return bytes(body + entries + tail + end)


# -- kinds of files, each from the numbers of a recipe

# Pieces of a pickle that leave one value on the stack; the memo holds what `_prelude` puts there.
PIECES: tuple[bytes, ...] = (
    b"N", b"]", b"}", b"\x8f", b")", b"K\x07", b"G" + bytes(8), b"C\x00", b"\x8c\x01a", b"\x8a\x08" + b"\x11" * 8,
    b"h\x00", b"h\x00h\x01\x86",
    b"h\x02", b"h\x02\x85", b"NN\x86", b"}h\x00Ns", b"}h\x01Ns", b"}h\x02Ns",
    b"h\x06)R", b"h\x06h\x02R", b"h\x06)R}h\x00Nsb", b"h\x06)R}b", b"h\x05)R", b"h\x05h\x03\x85R",
    b"h\x05h\x14\x85R",
    b"h\x0fh\x00\x85R", b"h\x11h\x03\x85R", b"h\x11h\x02\x85R", b"h\x12h\x02\x85R", b"h\x00h\x01\x93",
    b"h\x01h\x00\x93",
    b"h\x0eh\x0dh\x13\x86R", b"h\x10)Rh\x15b", b"h\x0ch\x0b\x85R", b"I1\n", b"L1L\n", b"F1\n", b"S'\\n\\n\\n\\q'\n",
    b"V\\u1234\n", b"ca\nb\n", b"ios\nb\n", b"h\x0a", b"h\x0ah\x00\x86", b"h\x08", b"h\x17h\x16R", b"](h\x00h\x01e",
    b"h\x18Q", b"h\x16", b"h\x07h\x19R", b"h\x1ah\x1bR", b"\x94N", b"h\x04", b"h\x04h\x06)R", b"(l", b"(d", b"(NNt",
)  # fmt: skip


def _prelude(r: Recipe) -> bytes:
    text, width = TEXTS[r["text"] % len(TEXTS)](r["length"]), min(r["width"], 200_000)
    values: dict[int, bytes] = {
        0: _text(text),
        1: _text(text),  # equal, another object
        2: b"(" + b"N" * width + b"t",
        3: b"(" + b"N" * width + b"l",
        4: b"(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(width)) + b"d",
        5: _name("collections", "OrderedDict"),
        6: _name("a", "b"),
        7: _name("torch._utils", "_rebuild_tensor_v2"),
        9: _STORAGE,
        8: _tensor((8, 8, 4, 4)),
        10: _name("m", "M") + b")R}(" + _text("_modules") + b"}" + _text("_parameters") + b"}ub",
        11: b"B" + struct.pack("<I", len(_STREAM)) + _STREAM,
        12: _name("torch.storage", "_load_from_bytes"),
        13: _name("numpy", "dtype") + _text("f4") + b"\x89\x88\x87R",
        14: _name("numpy.core.multiarray", "scalar"),
        15: _name("_codecs", "encode"),
        16: _name("numpy.core.multiarray", "_reconstruct"),
        17: _name("builtins", "set"),
        18: _name("torch", "Size"),
        19: b"C\x04" + bytes(4),
        20: b"(" + b"h\x00N\x86" * min(width, 20_000) + b"l",
        21: b"(K\x01K\x00\x85h\x0d\x89h\x00t",
        22: b"(" + b"h\x01" * min(width, 16) + b"t",
        23: _name("builtins", "getattr"),
        24: b"(" + _text("storage") + _name("torch", "FloatStorage") + _text("0") + _text("cpu") + _int(4096) + b"t",
        25: b"(h\x09J\x00\x00\x00\x00J\x08\x00\x00\x00\x85J\x01\x00\x00\x00\x85\x89h\x05)Rt",
        26: _name("torch._utils", "_rebuild_parameter"),
        27: b"(h\x08\x88h\x05)Rt",
    }  # fmt: skip
    return b"".join(raw + _put(i) + b"0" for i, raw in values.items())


def operations(r: Recipe) -> bytes:
    """Pieces of a pickle, each many times, kept in a list, a dict or not at all."""
    one, two = PIECES[r["piece"] % len(PIECES)], PIECES[r["other"] % len(PIECES)]
    times = min(r["times"], MOST_BYTES // (len(one) + len(two) + 6))
    keep = r["keep"] % 6
    body = {
        0: b"(" + (one + two) * times + b"l",
        1: (one + b"0" + two + b"0") * times + b"N",
        2: b"}(" + (one + two) * times + b"u",
        3: b"}" + (one + two + b"s") * times,
        4: b"(" + (one + two + b"\x86") * times + b"t",
        5: b"}(" + b"".join(_int(i) + one for i in range(min(times, 400_000))) + b"u",
    }[keep]
    value = b"\x80\x02" + _prelude(r) + body + b"."
    return value if r["form"] % 3 == 2 else _as_zip(value)


def _module(r: Recipe, children: bytes, leaf: bool) -> bytes:
    """A record of a module whose `_modules` is `children`."""
    own = r["own"] % 3
    name = (
        _name("torch.nn.modules.container", "Sequential"),
        _name("m", "M"),
        _name("torch.nn.modules.activation", "ReLU"),
    )
    tensors = (
        b"".join(_text(f"{'w' * min(r['length'], 180)}{i}") + _get(8) for i in range(r["tensors"] % 40))
        if leaf
        else b""
    )
    hidden = b"(" + _text("q") * (r["hidden"] % 2000) + b"l" if r["hidden"] % 2 else b"]"
    parts = (
        _text("_modules") + children + _text("_parameters") + b"}(" + tensors + b"u" + _text("_buffers") + b"}"
        + _text("_non_persistent_buffers_set") + hidden + _text("_forward_hooks") + b"}("
        + b"".join(_int(i) + _get(6) for i in range(r["hooks"] % 300)) + b"u"
    )  # fmt: skip
    return name[own] + b")R}(" + parts + b"ub"


def modules(r: Recipe) -> bytes:
    """Pickled modules: wide, deep, sharing parts, a part of themselves."""
    name = ("0", "a", "main")[r["names"] % 3]
    width, depth, count = 1 + r["width"] % 3000, 1 + r["depth"] % 40, 1 + r["count"] % 400
    long = "n" * min(r["length"], 190) if r["names"] % 2 else ""

    def table(child: int) -> bytes:
        """`width` children, all the one of the memo."""
        numbered = (_text(str(i) if name == "0" else f"{name}{long}{i}") + _get(child) for i in range(width))
        return b"}(" + b"".join(numbered) + b"u"

    made = _module(r, b"}" + _put(299), leaf=True) + _put(300)
    at = 300
    for _ in range(depth):
        made += b"0" + _module(r, table(at), leaf=bool(r["everywhere"] % 2)) + _put(at + 1)
        at += 1
        if len(made) > MOST_BYTES // 2:
            break
    if r["cycle"] % 3 == 1:  # the deepest has the outermost as its part
        made += b"0" + _get(299) + b"(" + _text("0") + _get(at) + b"u0" + _get(at)
    tables = b"}" + _put(290) + b"0"
    if r["cycle"] % 3 == 2:  # every record's `_modules` is one table, which holds them all
        tables += b"".join(
            _name("m", "M") + b")R}(" + _text("_modules") + _get(290) + _text("_parameters") + b"}(" + _text("w")
            + _get(8) + b"uub" + _put(1000 + i) + b"0" for i in range(min(count, width))
        )  # fmt: skip
        tables += (
            _get(290) + b"(" + b"".join(_text(f"{name}{i}") + _get(1000 + i) for i in range(min(count, width))) + b"u0"
        )
    many = b"".join(
        _text(f"net{i}") + (_get(1000 + i) if r["cycle"] % 3 == 2 else _wrapped(r, at))
        for i in range(min(count, width))
    )
    top = b"}(" + (many if r["many"] % 2 else _text("netG") + _get(at)) + b"u"
    return _as_zip(b"\x80\x02" + _prelude({**r, "width": 1, "length": 1}) + made + b"0" + tables + top + b".")


def _wrapped(r: Recipe, child: int) -> bytes:
    return (
        _name("m", "M")
        + b")R}("
        + _text("_modules")
        + b"}("
        + _text("0")
        + _get(child)
        + b"u"
        + _text("_parameters")
        + b"}ub"
    )


SHAPES = ((8, 8, 4, 4), (64, 64), (8,), (8, 8, 3, 3), (1, 1, 1, 1), (4, 4, 1, 1), (3, 8, 3, 3), (1, 64))
PARAMETERS = ("weight", "bias", "running_mean", "running_var", "weight_orig", "weight_u", "weight_v", "weight_g")
ROLES = ("netG", "G_ema", "ema", "model", "netD", "shadow", "x", "state_dict")


def candidates(r: Recipe) -> bytes:
    """State dicts of many keys, in several places, sharing keys or not."""
    count, places = 1 + r["count"] % 60_000, 1 + r["places"] % 100
    stem = TEXTS[r["text"] % len(TEXTS)](r["length"] % 1200)
    shape, other = SHAPES[r["shape"] % len(SHAPES)], SHAPES[r["other"] % len(SHAPES)]
    last = 1 + r["last"] % len(PARAMETERS)
    keys, made = [], b""
    for i in range(count):
        number, parameter = (i // last, PARAMETERS[i % last]) if last > 1 else (i, "weight")
        where = (
            f"{stem}{number}",
            f"main.{number}",
            f"{number}",
            f"{stem}.{number}.a{number}",
            f"g{number % 30}.{number}",
        )
        key = f"{where[r['where'] % len(where)]}.{parameter}"
        made += _text(key) + _put(1000 + i) + b"0"
        keys.append(i)
        if len(made) > MOST_BYTES // 2:
            break
    tensors = _tensor(shape) + _put(301) + b"0" + _tensor(other) + _put(302) + b"0"
    table = b"}(" + b"".join(_get(1000 + i) + _get(302 if last > 1 and i % last else 301) for i in keys) + b"u"
    places = max(1, min(places, (MOST_BYTES - len(made)) // len(table)))
    top = b"}(" + b"".join(_text(f"{ROLES[(i * r['role']) % len(ROLES)]}{i}") + table for i in range(places)) + b"u"
    return _as_zip(b"\x80\x02" + _prelude({**r, "width": 1, "length": 1}) + made + tensors + top + b".")


def header(r: Recipe) -> bytes:
    """A safetensors file: many tensors, long names, junk within, or layers of its own."""
    count = 1 + r["count"] % 100_000
    stem = TEXTS[r["text"] % len(TEXTS)](r["length"] % 3000)
    fill = min(r["times"], MOST_BYTES // 8)
    junk = ("[]," * fill + "0", "{}," * fill + "0", "0.5," * fill + "0", "1," * fill + "0",
            '"",' * fill + "0", "[" * min(fill, 900) + "]" * min(fill, 900), "null",
            '"\\ud83d\\ude00' + "a" * fill + '"',
            '"' + "\U0001f600" + "a" * fill + '"', '{"a":0},' * (fill // 3) + "0", "9" * min(fill, 4000))  # fmt: skip
    shape = ",".join("1" for _ in range(r["depth"] % 20))
    parts = []
    for i in range(count):
        begin = 4 * i
        parts.append(
            f'"{json.dumps(stem)[1:-1]}{i}.weight":'
            f'{{"dtype":"F32","shape":[{shape}],"data_offsets":[{begin},{begin + 4}]}}'
        )
        if i % 100 == 0 and sum(map(len, parts[:1])) * i > MOST_BYTES // 2:
            break
    inner = junk[r["junk"] % len(junk)]
    if r["where"] % 4 == 0:
        parts.append(f'"__metadata__":[{inner}]')
    elif r["where"] % 4 == 1:
        layer = f'{{"op":"Reshape","name":"l","inputs":["z"],"shape":[1,{1 << 14},{1 << 14}]}}'
        layers = ",".join([layer] * min(1 + r["times"] % 60_000, MOST_BYTES // 90))
        spec = json.dumps(
            f'{{"arch":"a","nz":{1 << 28},"prior":"normal","image":[1,4,4],"range":null,"layers":[{layers}]}}'
        )
        parts.append(f'"__metadata__":{{"gan-export.spec":{spec}}}')
    elif r["where"] % 4 == 2:
        parts = [f'"a{i}":[{inner}]' for i in range(1)]
    raw = ("{" + ",".join(parts) + "}").encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(4 * count)


def directory(r: Recipe) -> bytes:
    """A zip archive of many entries."""
    count, stem = (
        1 + r["count"] % 150_000,
        ("a/", "/" * (r["length"] % 5000), "\x80" * (r["length"] % 5000))[r["text"] % 3],
    )
    extra = r["width"] % 60_000 if r["many"] % 2 else 0
    count = max(1, min(count, MOST_BYTES // (90 + 2 * len(stem) + extra)))
    return archive([(f"{stem}{i}", b"") for i in range(count)] + [("a/data.pkl", b"\x80\x02}.")], extra)


KINDS: tuple[Callable[[Recipe], bytes], ...] = (operations, modules, candidates, header, directory)
NUMBERS = (
    "piece", "other", "times", "keep", "form", "text", "length", "width", "depth", "count", "places", "own", "tensors",
    "hidden", "hooks", "names", "everywhere", "cycle", "many", "shape", "last", "where", "role", "junk",
)  # fmt: skip
_LARGE = ("times", "length", "width", "count")


def made(recipe: Recipe) -> bytes:
    """The file of a recipe."""
    return KINDS[recipe["kind"] % len(KINDS)](recipe)


# -- recipes


def drawn(rng: random.Random, kind: int) -> Recipe:
    """A recipe at random."""
    recipe = {n: int(10 ** rng.uniform(0, 6)) if n in _LARGE else rng.randrange(100) for n in NUMBERS}
    return {"kind": kind, **recipe}


def varied(recipe: Recipe, rng: random.Random) -> Recipe:
    """A recipe near another."""
    new = dict(recipe)
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(NUMBERS)
        if name in _LARGE:
            new[name] = max(1, min(3_000_000, int(new[name] * rng.choice((0.1, 0.5, 0.8, 1.3, 2, 4, 10)))))
        else:
            new[name] = rng.randrange(100) if rng.random() < 0.7 else max(0, new[name] + rng.choice((-1, 1)))
    return new
