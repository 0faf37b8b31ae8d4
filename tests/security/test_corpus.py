"""Every door for foreign files, opened by the commands with the interpreter and the file system watched.

What is held: nothing that a file names is run, imported or written.  Whether it is refused is for other tests.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gan_export import checkpoint
from gan_export.exporters import find
from gan_export.exporters.base import Options
from gan_export.training import recipe
from tests.checkpoint.makers import generator, prefixed, saved
from tests.conftest import ROOT
from tests.security import corpus
from tests.security.calls import CALLS, CANARY, TOUCH

WATCH = ROOT / "tests" / "security" / "watch"
Job = tuple[str, str, list[str]]
HONEST = "honest"
# Never, whatever a file holds.
_NEVER = (
    "os.system", "os.exec", "os.spawn", "pty.spawn", "os.forkpty", "os.startfile", "pickle.find_class",
    "urllib.Request", "webbrowser.open", "ftplib.connect", "smtplib.connect", "sqlite3.connect", "socket.connect",
)  # fmt: skip


class Place:
    """A folder with honest files, a home and a temporary folder of its own, and the doors' process in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files, self.home, self.temporary, self.out = (root / n for n in ("files", "home", "tmp", "out"))
        for folder in (self.files, self.home, self.temporary, self.out):
            folder.mkdir()
        (self.files / f"{CANARY}.py").write_text(f"open({str(root / 'imported')!r}, 'w')\nclass Config: pass\n")
        self.checkpoint = saved(self.files / "honest.pth", prefixed(generator().state_dict()))
        self.gan = self.files / "honest.gan"
        find("native").write(checkpoint.read(self.checkpoint), self.gan, Options())

    def run(self, jobs: Sequence[Job], limit: int = 900) -> dict[str, tuple[int, str]]:
        """Exit code and last words of each job, held to what is promised."""
        (self.root / "jobs.json").write_text(json.dumps(jobs))
        log, results = self.root / "log", self.root / "results.json"
        log.unlink(missing_ok=True)
        before = self._listing()
        paths = os.pathsep.join((str(WATCH), str(ROOT), str(self.files)))
        environment = {
            **os.environ, "PYTHONPATH": paths, "HOME": str(self.home), "TMPDIR": str(self.temporary),
            "GAN_WATCH": str(log), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(self.temporary / "cache"),
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.security.doors", str(self.root / "jobs.json"), str(results)]
        done = subprocess.run(
            command, cwd=self.files, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        self._hold(log)
        changed = {name for name in self._listing() ^ before if not name.startswith(("tmp/cache", "out/"))}
        assert not changed
        assert not [name for name in self._listing() if CANARY in name and not name.startswith("files/")]
        assert not (self.root / "imported").exists()
        return {name: (code, words) for name, code, words in json.loads(results.read_text())}

    def _listing(self) -> set[str]:
        folders = (self.files, self.home, self.temporary, self.out)
        found = {p.relative_to(self.root).as_posix() for folder in folders for p in folder.rglob("*")}
        return found | {p.name for p in self.root.parent.iterdir()}

    def _hold(self, log: Path) -> None:
        job, honest, wrong = HONEST, set[str](), []
        named = {module.split(".")[0] for module, _, _ in CALLS} | {module for module, _, _ in CALLS}
        programs = set[str]()
        for line in log.read_text().splitlines():
            event, what = json.loads(line)
            if event == "job":
                job = what
            elif job.startswith(HONEST):
                if event == "import":
                    honest.add(what)
                elif event == "subprocess.Popen":
                    programs.add(what[0])
            elif self._is_wrong(event, what, named - honest, programs):
                wrong.append((job, event, what))
        assert not wrong[:5]

    def _is_wrong(self, event: str, what: Any, modules: set[str], programs: set[str]) -> bool:
        """modules: what the corpus names and no honest file had imported; programs: what honest files had started."""
        if event == "import":
            return what in modules
        if event == "open":
            return not self._may_write(what[0])
        started = event == "subprocess.Popen" and what[0] not in programs | {sys.executable}
        return started or event in _NEVER or CANARY in str(what)

    def _may_write(self, path: str) -> bool:
        own = (str(self.out), str(self.temporary), "/dev/", "/proc/", str(self.root / "log"))
        return (
            path.startswith(own)
            or path.isdecimal()
            or path.endswith(".lock")
            or path == str(self.root / "results.json")
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("watched") / "root"
    root.mkdir()
    made = Place(root)
    corpus.write(made.files)
    return made


def _named(place: Place) -> list[Path]:
    return [place.files / name for name in corpus.checkpoints()]


DOORS: dict[str, Callable[[Place, Path], tuple[str, list[str]]]] = {
    "inspect": lambda p, f: ("export", ["inspect", str(f)]),
    "latents": lambda p, f: ("sample", [str(p.gan), "--latents", str(f), "-o", str(p.out / "l.png")]),
    "export": lambda p, f: ("export", ["safetensors", str(f), "-o", str(p.out / "e.safetensors")]),
    "sample": lambda p, f: ("sample", [str(f), "-n", "1", "-o", str(p.out / "s.png")]),
    "verify": lambda p, f: ("export", ["verify", str(p.gan), str(f)]),
    "verify the file itself": lambda p, f: ("export", ["verify", str(f)]),
    "bench": lambda p, f: ("bench", [str(f), "--runtimes", "eager", "--rounds", "2", "--batch", "1"]),
    "dataset": lambda p, f: ("sample", [str(f), "-n", "2", "--format", "npy", "-o", str(p.out / "d")]),
}
SHORT = ("inspect", "latents")


@pytest.mark.parametrize("door", [pytest.param(d, marks=[] if d in SHORT else pytest.mark.long) for d in DOORS])
def test_nothing_runs_through(place: Place, door: str) -> None:
    files = _named(place)
    program, words = DOORS[door](place, place.checkpoint)
    jobs: list[Job] = [(f"{HONEST} {door}", program, words)]
    jobs += [(f.name, *DOORS[door](place, f)) for f in files]
    told = place.run(jobs)
    assert len(told) == len(files) + 1
    for name, (code, said) in told.items():
        assert "Traceback" not in said, name
        assert code != -1, (name, said)


@pytest.mark.long
def test_a_strangers_run_that_is_resumed(place: Place) -> None:
    """Its snapshot is any file of the corpus."""
    runs = place.root / "runs"
    jobs: list[Job] = []
    settings = json.dumps(recipe.load("mnist32-demo").to_json())
    for file in _named(place):
        run = runs / file.name
        (run / "snapshots").mkdir(parents=True)
        (run / "recipe.json").write_text(settings)
        (run / "snapshots" / "00000001.pt").write_bytes(file.read_bytes())
        jobs.append((file.name, "train", ["resume", str(run)]))
    for name, (code, said) in place.run([(f"{HONEST} list", "train", ["list"]), *jobs]).items():
        assert code == (0 if name.startswith(HONEST) else 2), (name, said)


def test_texts_are_refused_in_a_line(place: Place) -> None:
    jobs: list[Job] = [(f"{HONEST} list", "train", ["list"])]
    for name, text in corpus.texts().items():
        path = place.files / name
        path.write_text(text, encoding="latin-1" if name.startswith("latin") else "utf-8")
        run, dataset, unfinished, folder = (place.files / f"{kind}-{name}" for kind in ("run", "data", "part", "model"))
        for made in (run, dataset, unfinished / ".gan-sample", folder):
            made.mkdir(parents=True, exist_ok=True)
        (run / "recipe.json").write_bytes(path.read_bytes())
        (dataset / "MANIFEST.json").write_bytes(path.read_bytes())
        (unfinished / ".gan-sample" / "job.json").write_bytes(path.read_bytes())
        (folder / "model.safetensors.index.json").write_bytes(path.read_bytes())
        own = [
            ("recipe", "train", [str(path), "-o", str(place.out / "run")]),
            ("suite", "bench", ["--suite", str(path)]),
            ("record", "bench", ["compare", str(path), str(path)]),
            ("run", "train", ["resume", str(run)]), ("page", "train", ["page", str(run)]),
            ("dataset", "sample", ["check", str(dataset)]), ("unfinished", "sample", ["check", str(unfinished)]),
            ("index", "export", ["inspect", str(folder)]),
        ]  # fmt: skip
        # An empty text is a sound recipe and a sound suite, which would be run.
        jobs += [
            (f"{door} of {name}", *to) for door, *to in own if (door in ("recipe", "suite")) == (path.suffix == ".toml")
        ]
    for name, (code, said) in place.run(jobs).items():
        if not name.startswith(HONEST):
            assert code == 2, (name, said)
            assert len(said.strip().splitlines()) == 1, (name, said)


# -- exports


@pytest.fixture(scope="module")
def exported(place: Place) -> dict[str, bytes]:
    """The entries of an honest .pt2."""
    find("pt2").write(checkpoint.read(place.checkpoint), place.files / "honest.pt2", Options())
    with zipfile.ZipFile(place.files / "honest.pt2") as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


_WEIGHTS, _CONSTANTS = (
    "archive/data/weights/model_weights_config.json",
    "archive/data/constants/model_constants_config.json",
)
_MODEL = "archive/models/model.json"
_ZIPPED = corpus.CONTAINERS["zip"](corpus.PAYLOAD)
_RELU = b"torch.ops.aten.relu.default"


def _changed(raw: bytes, change: Callable[[Any], object]) -> bytes:
    data = json.loads(raw)
    change(data)
    return json.dumps(data).encode()


def _first(data: Any) -> Any:
    return next(iter(data["config"].values()))


def _constant(name: str) -> Callable[[Any], object]:
    entry = {"path_name": name, "is_param": False, "use_pickle": True, "tensor_meta": None}
    return lambda data: data["config"].update({"x": entry})


def _symbol(text: str) -> Callable[[Any], object]:
    def change(data: Any) -> None:
        for value in data["graph_module"]["graph"]["sym_int_values"].values():
            value["as_expr"]["expr_str"] = text

    return change


def _spec(data: Any) -> None:
    context = json.dumps({"default_factory_module": CANARY, "default_factory_name": "Config", "dict_context": []})
    spec = {"type": "collections.defaultdict", "context": context, "children_spec": []}
    data["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, spec])


RUNNING = f"__import__('os').system('{TOUCH}')"
TRICKS: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "a pickled weight": lambda e: {
        **e, _WEIGHTS: _changed(e[_WEIGHTS], lambda d: _first(d).update(use_pickle=True)),
        "archive/data/weights/weight_0": _ZIPPED,
    },
    "an opaque constant": lambda e: {
        **e, _CONSTANTS: _changed(e[_CONSTANTS], _constant("opaque_obj_0")),
        "archive/data/constants/opaque_obj_0": corpus.PAYLOAD,
    },
    "a custom object": lambda e: {
        **e, _CONSTANTS: _changed(e[_CONSTANTS], _constant("custom_obj_0")),
        "archive/data/constants/custom_obj_0": _ZIPPED,
    },
    "weights of the old layout": lambda e: {**e, "archive/data/weights/model.pt": _ZIPPED},
    "pickled arguments": lambda e: {**e, "archive/data/sample_inputs/model.pt": _ZIPPED},
    "a size that is code": lambda e: {**e, _MODEL: _changed(e[_MODEL], _symbol(RUNNING))},
    "a size that never ends": lambda e: {**e, _MODEL: _changed(e[_MODEL], _symbol("Integer(9)**9**9**9"))},
    "guards that are code": lambda e: {**e, _MODEL: _changed(e[_MODEL], lambda d: d.update(guards_code=[RUNNING]))},
    "arguments in a module's class": lambda e: {**e, _MODEL: _changed(e[_MODEL], _spec)},
    "an operator that maps a file": lambda e: {
        **e, _MODEL: e[_MODEL].replace(_RELU, b"torch.ops.aten.from_file.default")
    },
    "an operator that is none": lambda e: {**e, _MODEL: e[_MODEL].replace(_RELU, b"torch.os.system")},
    "a compiled library": lambda e: {**e, "archive/data/aotinductor/model/x.so": b"\x7fELF"},
    "the layout of 2.7": lambda e: {
        "version": b"8.8", "archive/archive_format": b"pt2", "serialized_exported_program.json": b"{}",
        **{f"serialized_{n}.pt": _ZIPPED for n in ("state_dict", "constants", "example_inputs")},
        "archive/extra/gan-export.manifest": e["archive/extra/gan-export.manifest"],
    },
}  # fmt: skip


def _packed(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, raw in entries.items():
            archive.writestr(name, raw)
    return out.getvalue()


@pytest.mark.long
def test_a_pt2_that_is_a_program(place: Place, exported: dict[str, bytes]) -> None:
    """torch.export.load unpickles, evaluates and imports; an honest one, repacked alike, is read."""
    jobs: list[Job] = []
    for name, trick in {HONEST: lambda e: e, **TRICKS}.items():
        path = place.files / f"{name}.pt2"
        path.write_bytes(_packed(trick(exported)))
        doors = [
            ("sample", "sample", [str(path), "-n", "1", "-o", str(place.out / "s.png")]),
            ("inspect", "export", ["inspect", str(path)]),
        ]
        if name in (HONEST, "a pickled weight"):  # its worker loads the file by the same door, and takes seconds
            doors.append(("verify", "export", ["verify", str(path)]))
        for door, program, words in doors:
            jobs.append((f"{name}: {door}", program, words))
    for name, (code, said) in place.run(jobs).items():
        wanted = (0, 1) if name.startswith(HONEST) else (0, 1, 2) if name.endswith("inspect") else (1, 2)
        assert code in wanted, (name, said)
        assert "Traceback" not in said


@pytest.mark.long
@pytest.mark.parametrize("location", [b"/etc/passwd", b"../../x.dat", b"x/../../dat", b"C:\\passwd.x"])
def test_onnx_weights_elsewhere(place: Place, location: bytes) -> None:
    honest = place.files / "h.onnx"
    find("onnx").write(checkpoint.read(place.checkpoint), honest, Options(external_data=True))
    raw = honest.read_bytes()
    beside = next(p.name for p in place.files.iterdir() if p.name.startswith("h.onnx") and p != honest).encode()
    assert raw.count(beside)
    assert len(beside) == len(location)
    forged = place.files / "forged.onnx"
    forged.write_bytes(raw.replace(beside, location))
    linked = place.files / "linked"
    linked.mkdir(exist_ok=True)
    (linked / "h.onnx").write_bytes(raw)
    (linked / beside.decode()).unlink(missing_ok=True)
    (linked / beside.decode()).symlink_to("/etc/passwd")
    jobs: list[Job] = [(f"{HONEST} onnx", "sample", [str(honest), "-n", "1", "-o", str(place.out / "o.png")])]
    for file in (forged, linked / "h.onnx"):
        jobs += [
            (f"sample {file}", "sample", [str(file), "-n", "1", "-o", str(place.out / "o.png")]),
            (f"verify {file}", "export", ["verify", str(file)]),
        ]
    for name, (code, said) in place.run(jobs).items():
        assert code == (0 if name.startswith(HONEST) else 2), (name, said)
        assert "root:" not in said
