"""Files that carry code: in every position, by every operation, under every name.  None of it runs."""

from __future__ import annotations

import enum
import functools
import operator
import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_export.checkpoint import check_strictly, read
from gan_export.errors import GanExportError, HostileFileError, NotRecognizedError
from tests.conftest import latent_image

from .guard import nothing_runs
from .makers import FORMATS, Calls, generator, prefixed, refused, same_weights, saved, torch_stream, torch_zip

NET = generator()
STATE = prefixed(NET.state_dict())


def hostile(path: Path, raw: bytes, match: str) -> None:
    refused(path, raw, match, HostileFileError)


class Runs:
    """Pickles to a call of os.system."""

    def __init__(self, command: str = "touch ran") -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


class Holds:
    """An object with what is given in its state."""

    def __init__(self, value: object) -> None:
        self.value = value


def parameter(builder: str, *args: Any) -> Calls:
    return Calls(getattr(torch._utils, builder), (STATE["model.0.weight"], True, *args))


SUBCLASS = (os.system, torch.Tensor, ("touch ran",), None)
POSITIONS: dict[str, Callable[[], Any]] = {
    "alone": Runs,
    "beside": lambda: {"netG": STATE, "x": Runs()},
    "before": lambda: {"x": Runs(), "netG": STATE},
    "within the state dict": lambda: {**STATE, "model.1.extra": Runs()},
    "deep": lambda: {"a": [({"b": [[[Runs()]]]},)]},
    "in an object's state": lambda: {"netG": STATE, "config": Holds(Runs())},
    "in an object's arguments": lambda: {"netG": STATE, "config": Calls(Holds, (Runs(),))},
    "as an object's state": lambda: {"netG": STATE, "config": Calls(Holds, (1,), Runs())},
    "as an item": lambda: {"netG": STATE, "config": Calls(OrderedDict, (), None, iter([("a", Runs())]))},
    "as a key": lambda: {"netG": STATE, "x": Calls(OrderedDict, (), None, iter([((1, Runs()), 1)]))},
    "in a partial": lambda: {"netG": STATE, "f": functools.partial(os.system, "touch ran")},
    "in a partial's arguments": lambda: {"netG": STATE, "f": functools.partial(max, key=Runs())},
    "as a parameter's state": lambda: {"netG": STATE, "p": parameter("_rebuild_parameter_with_state", {}, Runs())},
    "as a parameter's hooks": lambda: {"netG": STATE, "p": parameter("_rebuild_parameter", Runs())},
    "in a tensor subclass": lambda: {"netG": STATE, "p": Calls(torch._tensor._rebuild_from_type_v2, SUBCLASS)},
    "in a metadata": lambda: Calls(OrderedDict, (), {"_metadata": Runs()}, iter(STATE.items())),
}  # fmt: skip


DECIDES = ("alone", "deep", "within the state dict")  # no weights, or weights beside what nobody computes: refused


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("position", POSITIONS)
def test_code_in_every_position(tmp_path: Path, position: str, zipped: bool, protocol: int) -> None:
    path = saved(
        tmp_path / "g.pth", POSITIONS[position](), _use_new_zipfile_serialization=zipped, pickle_protocol=protocol
    )
    if position in DECIDES:
        with nothing_runs(), pytest.raises(HostileFileError, match=r"^g\.pth: names posix\.system, code that runs"):
            read(path)
    else:
        with nothing_runs():
            checkpoint = read(path)
        assert checkpoint.source.code == ("posix.system",)
        assert "posix.system" in checkpoint.source.records
        same_weights(checkpoint, NET)
        with pytest.raises(HostileFileError, match=r"posix\.system.*strict=True"):
            check_strictly(checkpoint)
    assert not Path("ran").exists()


def test_a_partial_is_a_record(tmp_path: Path) -> None:
    value = {"netG": STATE, "schedule": functools.partial(round, ndigits=2)}
    with nothing_runs():
        assert "functools.partial" in read(saved(tmp_path / "g.pth", value)).source.records


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_plain_pickle(tmp_path: Path, protocol: int) -> None:
    hostile(tmp_path / "g.pth", pickle.dumps({"a": 1, "x": Runs()}, protocol), r"posix\.system")


EMBEDDED = torch_stream(b"cos\nsystem\n.")
LOADS = b"ctorch.storage\n_load_from_bytes\nC" + bytes([len(EMBEDDED)])
IDENTITY = b"(X\x07\x00\x00\x00storagecos\nsystem\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01t"
OPCODES: dict[str, bytes] = {
    "REDUCE": b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00touch ran\x85R.",
    "not called": b"\x80\x02cos\nsystem\n.",
    "popped": b"\x80\x02cos\nsystem\n0N.",
    "INST": b"(X\x09\x00\x00\x00touch ranios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nX\x09\x00\x00\x00touch rano.",
    "NEWOBJ": b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00touch ran\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04cos\nsystem\nX\x09\x00\x00\x00touch ran\x85}\x92.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",
    "STACK_GLOBAL of memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x9400h\x00h\x01\x93N\x85R.",
    "BUILD": b"\x80\x02cos\nenviron\n}b.",
    "in a persistent id": b"\x80\x02" + IDENTITY + b"Q.",
    "behind a mark": b"\x80\x02(((cos\nsystem\n1N.",
    "_load_from_bytes": pickle.dumps({"a": 1}, 2)[:-1] + LOADS + EMBEDDED + b"\x85R.",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("opcode", OPCODES)
def test_code_by_every_operation(tmp_path: Path, opcode: str, form: str) -> None:
    if opcode == "_load_from_bytes" and form != "plain":
        pytest.skip("an embedded file is looked into only where pickle itself writes one")
    hostile(tmp_path / "g.pth", FORMATS[form](OPCODES[opcode]), r"names os\.(system|environ)")


@pytest.mark.parametrize("where", ["sizes", "keys", "magic"])
def test_code_around_a_streams_value(tmp_path: Path, where: str) -> None:
    """The old format is five pickles: the value is only one of them."""
    code, value = pickle.dumps(Runs(), 2), pickle.dumps({}, 2)
    magic, protocol = pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2)
    sizes = pickle.dumps({"little_endian": True}, 2)
    parts = {
        "sizes": magic + protocol + code + value + value,
        "keys": magic + protocol + sizes + value + code,
        "magic": b"\x80\x02" + magic[2:-1] + b"0" + code[2:],
    }
    hostile(tmp_path / "g.pth", parts[where], r"posix\.system")


NAMES = [
    "os system", "posix popen", "nt system", "subprocess Popen", "sys exit", "builtins eval", "builtins exec",
    "builtins compile", "builtins __import__", "builtins open", "__builtin__ eval",
    "__builtin__ apply", "__builtin__ file", "builtins setattr", "builtins globals", "builtins breakpoint",
    "builtins str.format", "builtins dict.__init__", "importlib import_module", "importlib._bootstrap _load",
    "socket socket", "ctypes CDLL", "shutil rmtree", "runpy run_path", "pty spawn", "webbrowser open",
    "operator methodcaller", "_operator methodcaller", "functools reduce", "torch.hub load",
    "torch load", "torch.serialization load", "torch.jit load", "torch.utils.cpp_extension load_inline",
    "numpy load", "numpy.testing._private.utils runstring", "pickle loads", "_pickle loads", "dill loads",
    "cloudpickle loads", "cloudpickle.cloudpickle _make_function", "marshal loads", "types CodeType",
    "types FunctionType", "code interact", "codeop compile_command", "timeit timeit",
    "multiprocessing.util spawnv_passfds", "asyncio create_subprocess_shell", "http.client HTTPConnection",
    "urllib.request urlopen", "requests get", "tempfile mktemp", "pdb run", "cProfile run", "pip main", "io open",
    "_io FileIO", "codecs open", "torch os.system", "torch.serialization os.system", "torch sys", "numpy os.path",
    "collections OrderedDict.__init__.__globals__", "torch nn.Module.__init__", "pydoc locate",
    "pkgutil resolve_name", "logging.config listen", "distutils.spawn spawn", "site main", "sqlite3 connect",
    "joblib load", "antigravity fly", "mmap mmap",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_run_something(tmp_path: Path, name: str) -> None:
    module, qualname = name.split(" ")
    shown = f"{module}.{qualname}".replace(".", r"\.")
    loaded = set(sys.modules)
    old = f"\x80\x02c{module}\n{qualname}\n.".encode("latin-1")
    new = b"\x80\x04" + b"".join(b"\x8c" + bytes([len(p)]) + p.encode() for p in (module, qualname)) + b"\x93."
    for raw in (old, new):
        for form in FORMATS.values():
            hostile(tmp_path / "g.pth", form(raw), shown)
    assert set(sys.modules) == loaded


HARMLESS = [
    "builtins getattr", "builtins map", "builtins filter", "operator itemgetter", "operator attrgetter",
    "argparse Namespace", "__main__ Config", "models.code.generator Generator", "pathlib PosixPath",
    "torch.nn.modules.conv Conv2d", "torch.optim.adam Adam", "omegaconf.dictconfig DictConfig", "easydict EasyDict",
    "numpy.random._pickle __randomstate_ctor", "datetime datetime", "decimal Decimal", "uuid UUID", "enum Enum",
    "torch.nn.functional relu", "torch float16", "builtins int",
    "pytorch_lightning.utilities.parsing AttributeDict", "utils.profile Timer", "collections deque", "re _compile",
]  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_other_names_become_records(tmp_path: Path, name: str) -> None:
    module, qualname = name.split(" ")
    path = saved(tmp_path / "g.pth", {"netG": STATE, "x": "@"})
    with zipfile.ZipFile(path) as z:
        value = next(z.read(n) for n in z.namelist() if n.endswith("data.pkl"))
        storages = {n.rsplit("/", 1)[1]: z.read(n) for n in z.namelist() if "/data/" in n}
    call = f"c{module}\n{qualname}\n(X\x01\x00\x00\x00at}}X\x01\x00\x00\x00kK\x01sb".encode()
    for inert in (call.replace(b"t}", b"tR}"), call.replace(b"t}", b"t\x81}")):
        path.write_bytes(torch_zip(value.replace(b"X\x01\x00\x00\x00@", inert), storages))
        loaded = set(sys.modules)
        with nothing_runs():
            checkpoint = read(path)
        assert set(sys.modules) == loaded
        assert latent_image(checkpoint.spec).image == (1, 32, 32)
        assert not checkpoint.source.code
        if name != "torch float16":
            assert f"{module}.{qualname}" in checkpoint.source.records


class Color(enum.Flag):
    RED = 1


class Schedule:
    def step(self) -> None: ...


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_honest_programs_keep_beside_their_weights(tmp_path: Path, protocol: int) -> None:
    beside = {
        "method": Schedule().step, "getter": operator.itemgetter(0, 2), "map": map(str, [1, 2]), "color": Color.RED,
        "path": Path("a"), "sorted": functools.partial(sorted, key=operator.attrgetter("name")),
    }  # fmt: skip
    path = saved(tmp_path / "g.pth", {"netG": STATE, **beside}, pickle_protocol=protocol)
    with nothing_runs():
        checkpoint = read(path)
    assert not checkpoint.source.code
    if protocol == 4:  # older ones have Python 2's names
        assert {"builtins.getattr", "operator.itemgetter", "builtins.map"} <= set(checkpoint.source.records)
    same_weights(checkpoint, NET)


def test_getters_that_reach_for_more_run_code(tmp_path: Path) -> None:
    for reached in ("__globals__", "system", "a.__init__"):
        path = saved(tmp_path / "g.pth", {"netG": STATE, "x": Calls(getattr, (Schedule, reached))})
        with nothing_runs():
            assert read(path).source.code == ("__builtin__.getattr",)


@pytest.mark.parametrize("call", [(getattr, (1, "real")), (os.system, ("touch ran",)), (Schedule, ())])
def test_weights_that_a_call_would_give_are_refused(tmp_path: Path, call: tuple[Any, Any]) -> None:
    """A bias that is a call's result: left out, the layer would be read as one without."""
    state = {**STATE, "model.0.bias": Calls(*call)}
    with nothing_runs(), pytest.raises(GanExportError, match=r"model\.0\.bias"):
        read(saved(tmp_path / "g.pth", state))
    assert not Path("ran").exists()


def test_a_module_that_would_run_on_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs_on_import.py").write_text("open('ran', 'w')\nclass Config: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    raw = b"\x80\x02}(X\x01\x00\x00\x00acruns_on_import\nConfig\n)\x81u."
    for form in FORMATS.values():
        (tmp_path / "g.pth").write_bytes(form(raw))
        with nothing_runs(), pytest.raises(NotRecognizedError):
            read(tmp_path / "g.pth")
    assert "runs_on_import" not in sys.modules


def test_old_files_carry_source_code_that_is_left_alone(tmp_path: Path) -> None:
    """Before 1.6 a pickled module's classes came with their source, as a persistent id."""
    raw = (
        b"\x80\x02(X\x06\x00\x00\x00modulec__main__\nG\nX\x04\x00\x00\x00g.pyX\x0f\x00\x00\x00open('ran','w')tQ)\x81}b."
    )
    (tmp_path / "g.pth").write_bytes(torch_stream(raw))
    with nothing_runs(), pytest.raises(NotRecognizedError):
        read(tmp_path / "g.pth")
