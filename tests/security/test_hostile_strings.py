"""Every string of every kind of file, hostile, and every text that is written of it: nothing leaves its place.

The strings of a kind come out of its schema: a new field is tried as soon as it is there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_export.bench import record
from gan_export.bench.plan import Plan
from gan_export.bench.record import Run
from gan_export.cli.bench import main as gan_bench
from gan_export.cli.export import main as gan_export
from gan_export.cli.sample import main as gan_sample
from gan_export.cli.train import main as gan_train
from gan_export.datasets.manifest import Manifest as DatasetManifest
from gan_export.formats import manifest as manifests
from gan_export.formats.base import KEY
from gan_export.formats.flatbuffers import MANIFEST_MARKER
from gan_export.formats.manifest import Facts, Manifest
from gan_export.graph.layers import LAYERS
from gan_export.graph.spec import GeneratorSpec
from gan_export.recognize.options import ReadOptions
from gan_export.training import events
from gan_export.training.recipe import Recipe
from tests.checkpoint.makers import generator, prefixed, saved
from tests.security import hostile
from tests.security.files import (
    dataset_manifest,
    gan_bytes,
    manifest_data,
    old_manifest_data,
    onnx_model,
    own_safetensors,
    run_data,
    safetensors_bytes,
    spec_of,
    toml_text,
    training_log,
    weights_of,
)
from tests.security.hostile import EVERYTHING, HOSTILE, Place, command, places, planted, terminal

TRIED: dict[str, set[tuple[str, str, str]]] = {}  # kind of file -> (string, field, sink)

Files = Callable[[Path, Place, str], None]  # puts the string at a place and writes the file, or files, into a folder
Sink = Callable[[Path], None]  # reads them and writes into the folder `out`, or prints


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: where its strings are, how one is made, and what is done with it."""

    places: Callable[[], Iterator[Place]]
    make: Files
    sinks: dict[str, Sink]


def _shown(main: Callable[[], object], *arguments: str, code: tuple[int, ...] = (0, 1, 2)) -> Sink:
    """A command on the folder's files; what it prints is looked at.  JSON is looked at as JSON."""

    def sink(folder: Path) -> None:
        given = [str(folder / a[1:]) if a.startswith("@") else a for a in arguments]
        said = command(main, *given)
        assert said.code in code
        if "--json" in arguments and said.code == 0:
            hostile.json_file(said.out)
        else:
            terminal(said.out)

    return sink


def _emitted_c(folder: Path) -> None:
    """The C export without compiling and proving it, which a hostile name isn't needed for."""
    from gan_export import checkpoint, exporters
    from gan_export.errors import GanExportError
    from gan_export.exporters.base import Options

    for embedded in (False, True):
        try:
            read = checkpoint.read(folder / "g.safetensors")
            exporters.find("c").write(read, folder / "out" / f"c{embedded:d}", Options(embed_weights=embedded))
        except GanExportError:
            return


# ---- manifests, in each format


def _manifest_places() -> Iterator[Place]:
    yield from places(Manifest)
    yield from (("options", manifests.OPTIONS_KEY, f.name) for f in dataclasses.fields(ReadOptions))
    yield ("options", "symbol")
    yield from (("facts", *place) for place in places(Facts))  # of version 1


def _manifest(make: Callable[[Path, str], None]) -> Files:
    def write(folder: Path, place: Place, text: str) -> None:
        whole = old_manifest_data() if place[0] == "facts" else manifest_data()
        make(folder, json.dumps(planted(whole, place, text)))

    return write


def _in_safetensors(folder: Path, manifest: str) -> None:
    own_safetensors(folder / "g.safetensors", spec_of(), {KEY: manifest})


def _in_gan(folder: Path, manifest: str) -> None:
    (folder / "g.gan").write_bytes(gan_bytes(manifest))


def _in_onnx(folder: Path, manifest: str) -> None:
    model = onnx_model()
    model.metadata_props.add(key=KEY, value=manifest)
    (folder / "g.onnx").write_bytes(model.SerializeToString())


def _in_openvino(folder: Path, manifest: str) -> None:
    from xml.sax.saxutils import quoteattr

    inside = f"<gan-export><manifest value={quoteattr(manifest)}/></gan-export>"
    text = f'<?xml version="1.0"?>\n<net name="g" version="11"><rt_info>{inside}</rt_info></net>'
    (folder / "g.xml").write_text(text, encoding="utf-8")
    (folder / "g.bin").write_bytes(b"")


def _in_ncnn(folder: Path, manifest: str) -> None:
    (folder / "g.ncnn.param").write_text("7767517\n0 0\n")
    (folder / "g.ncnn.bin").write_bytes(b"")
    (folder / "g.ncnn.param.manifest.json").write_text(manifest)


def _in_c(folder: Path, manifest: str) -> None:
    (folder / "g-c").mkdir()
    (folder / "g-c" / "manifest.json").write_text(manifest)


def _in_torchscript(folder: Path, manifest: str) -> None:
    import zipfile

    with zipfile.ZipFile(folder / "g.pt", "w") as archive:
        for name, data in (("constants.pkl", "x"), ("code/x.py", "x"), (f"extra/{KEY}", manifest)):
            archive.writestr(f"g/{name}", data)


def _in_litert(folder: Path, manifest: str) -> None:
    (folder / "g.tflite").write_bytes(b"\0\0\0\0TFL3" + MANIFEST_MARKER + manifest.encode() + b"\0")


# ---- checkpoints


def _spec_places() -> Iterator[Place]:
    yield from (p for p in places(GeneratorSpec) if p[0] != "layers")
    for kind in LAYERS:  # of a union, each
        yield from ((kind.__name__, *p) for p in places(kind))
    yield from ((kind.__name__, "op") for kind in LAYERS)


def _spec(folder: Path, place: Place, text: str) -> None:
    kinds = {kind.__name__: kind for kind in LAYERS}
    spec = spec_of()
    if place[0] in kinds:
        name, *rest = place
        layers = spec["layers"]
        at = next((i for i, layer in enumerate(layers) if layer["op"] == name), None)
        if at is None:  # a layer that the small one lacks stands before the last
            at = len(layers) - 1
            layers.insert(at, {**hostile.sample(kinds[str(name)]), "op": name})
        before = layers[at]["name"]
        layers[at] = planted(layers[at], tuple(rest), text)
        for layer in layers:  # who reads it reads it by its new name
            layer["inputs"] = [layers[at]["name"] if i == before else i for i in layer["inputs"]]
    else:
        spec = planted(spec, place, text)
    own_safetensors(folder / "g.safetensors", spec)


def _checkpoint_places() -> Iterator[Place]:
    yield from ((what,) for what in ("key", "value", "owner", "prefix", "class", "module", "tensor"))


def _checkpoint(folder: Path, place: Place, text: str) -> None:
    """A state dict of torch's format; or a pickle that names a class of that name, or of that module."""
    what = str(place[0])
    if what in ("class", "module"):
        module, name = (text, "C") if what == "module" else ("a.b", text)
        named = b"\x93".join((_pickled(module) + _pickled(name), b")R"))
        (folder / "g.pth").write_bytes(b"\x80\x04}" + _pickled("extra") + named + b"s.")
        return
    state = prefixed(generator().state_dict())
    data: Any = {
        "key": {**state, text: torch.zeros(3)},
        "tensor": {"netG": state, "extra": {text: torch.zeros(3)}},
        "value": {"netG": state, "note": text},
        "owner": {text: state, "epoch": 3},
        "prefix": {f"{text}.{k}": v for k, v in state.items()},
    }[what]
    saved(folder / "g.pth", data)


def _pickled(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return b"X" + len(raw).to_bytes(4, "little") + raw


def _tensors(folder: Path, place: Place, text: str) -> None:
    tensors, metadata = weights_of({"a.weight": (4, 4), "b.weight": (2, 4)}), {"format": "pt"}
    if place == ("tensor",):
        tensors = weights_of({text: (4, 4), "b.weight": (2, 4)})
    else:
        metadata = planted(metadata, place, text)
    (folder / "g.safetensors").write_bytes(safetensors_bytes(tensors, metadata))


def _onnx_places() -> Iterator[Place]:
    """Every text of the protobuf messages that the small model holds."""
    seen: set[Place] = set()
    for place, _, _ in _onnx_texts(onnx_model()):
        general = tuple(p for p in place if isinstance(p, str))
        if general not in seen:
            seen.add(general)
            yield place


def _onnx_texts(message: Any, before: Place = ()) -> Iterator[tuple[Place, Any, str]]:
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.type == field.TYPE_STRING and not field.is_repeated:
            yield (*before, field.name), message, field.name
        elif field.type == field.TYPE_MESSAGE and field.is_repeated:
            for i, item in enumerate(value[:1]):
                yield from _onnx_texts(item, (*before, field.name, i))
        elif field.type == field.TYPE_MESSAGE and message.HasField(field.name):
            yield from _onnx_texts(value, (*before, field.name))


def _onnx(folder: Path, place: Place, text: str) -> None:
    model = onnx_model()
    for found, message, name in _onnx_texts(model):
        if found == place:
            setattr(message, name, text.encode("utf-8", "replace").decode())
    (folder / "g.onnx").write_bytes(model.SerializeToString())


# ---- records, recipes, logs, datasets, suites


def _record(folder: Path, place: Place, text: str) -> None:
    (folder / "runs").mkdir()
    (folder / "runs" / "run.json").write_text(json.dumps(planted(run_data(), place, text)))


def _report(folder: Path) -> None:
    said = command(gan_bench, "report", folder / "runs", "-o", folder / "out")
    terminal(said.out)


def _table(folder: Path) -> None:
    """What `gan-bench` prints of a run, and its CSV."""
    from contextlib import redirect_stdout
    from io import StringIO

    from gan_export.bench import summary
    from gan_export.cli.bench_tables import print_run
    from gan_export.errors import GanExportError

    try:
        run = record.read(folder / "runs" / "run.json")
    except GanExportError:
        return
    with redirect_stdout(StringIO()) as out:
        print_run(run)
    terminal(out.getvalue())
    (folder / "out" / "run.csv").write_text(str(summary.to_csv(run)))
    name = record.file_name(run)
    assert Path(name).name == name
    terminal(name)
    assert "\n" not in name


def _recipe(folder: Path, place: Place, text: str) -> None:
    recipe = planted({"name": "x"}, place, text)
    (folder / "r.toml").write_text(toml_text(recipe), encoding="utf-8", errors="replace")
    (folder / "run").mkdir()
    (folder / "run" / "recipe.json").write_text(json.dumps(recipe))
    (folder / "run" / "log.jsonl").write_text(training_log(lambda _, data: data))


def _log_places() -> Iterator[Place]:
    for event in EVENTS:
        yield from ((event.__name__, *p) for p in places(event))


EVENTS = tuple(e for e in vars(events).values() if dataclasses.is_dataclass(e) and e.__module__ == events.__name__)


def _log(folder: Path, place: Place, text: str) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "recipe.json").write_text(json.dumps({"name": "x"}))
    kind, *rest = place

    def change(name: str, data: dict[str, Any]) -> Any:
        return planted(data, tuple(rest), text) if name == kind else data

    (folder / "run" / "log.jsonl").write_text(training_log(change))


def _page(folder: Path) -> None:
    said = command(gan_train, "page", folder / "run", "-o", folder / "out" / "page.html")
    terminal(said.out)


def _dataset(folder: Path, place: Place, text: str) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "MANIFEST.json").write_text(json.dumps(dataset_manifest(place, text)))


def _suite(folder: Path, place: Place, text: str) -> None:
    suite = planted({"threads": 0}, place, text)  # stops before anything is measured
    (folder / "s.toml").write_text(toml_text(suite), encoding="utf-8", errors="replace")


_INSPECTED = {
    "safetensors": ("g.safetensors", _in_safetensors), "gan": ("g.gan", _in_gan), "onnx": ("g.onnx", _in_onnx),
    "openvino": ("g.xml", _in_openvino), "ncnn": ("g.ncnn.param", _in_ncnn), "c": ("g-c", _in_c),
    "torchscript": ("g.pt", _in_torchscript), "litert": ("g.tflite", _in_litert),
}  # fmt: skip


def _inspects(file: str) -> dict[str, Sink]:
    return {
        "inspect": _shown(gan_export, "inspect", f"@{file}"),
        "inspect --json": _shown(gan_export, "inspect", "--json", f"@{file}"),
    }


def _compares(file: str) -> dict[str, Sink]:
    """The bench compares manifests, and refuses two of one kind before it runs anything."""
    return {**_inspects(file), "bench": _shown(gan_bench, f"@{file}", f"@{file}")}


KINDS: dict[str, Kind] = {
    **{
        f"manifest in {name}": Kind(_manifest_places, _manifest(make), _compares(file))
        for name, (file, make) in _INSPECTED.items()
    },
    "spec in safetensors": Kind(_spec_places, _spec, {**_inspects("g.safetensors"), "emitted C": _emitted_c}),
    "checkpoint": Kind(_checkpoint_places, _checkpoint, _inspects("g.pth")),
    "tensors in safetensors": Kind(
        lambda: iter([("tensor",), (hostile.KEY,), ("format",), ("gan-export.spec",), (KEY,)]),
        _tensors,
        _inspects("g.safetensors"),
    ),
    "ONNX": Kind(_onnx_places, _onnx, _inspects("g.onnx")),
    "bench record": Kind(
        lambda: places(Run),
        _record,
        {
            "report": _report,
            "table and CSV": _table,
            "compare": _shown(gan_bench, "compare", "--anyway", "@runs/run.json", "@runs/run.json"),
        },
    ),
    "recipe": Kind(
        lambda: places(Recipe),
        _recipe,
        {"page": _page, "resume": _shown(gan_train, "resume", "@none", "--set", "x=1")},
    ),
    "training log": Kind(_log_places, _log, {"page": _page}),
    "dataset manifest": Kind(
        lambda: places(DatasetManifest), _dataset, {"check": _shown(gan_sample, "check", "@data")}
    ),
    "suite": Kind(lambda: places(Plan), _suite, {"bench": _shown(gan_bench, "--suite", "@s.toml")}),
}


def attempt(folder: Path, kind: Kind, place: Place, text: str) -> dict[str, object]:
    """The structure of each text that is written; each is looked at by itself as well."""
    folder.mkdir()
    (folder / "out").mkdir()
    kind.make(folder, place, text)
    before = {f for f in folder.rglob("*") if not f.is_relative_to(folder / "out")}
    for sink in kind.sinks.values():
        sink(folder)
    strangers = {f for f in folder.rglob("*") if not f.is_relative_to(folder / "out")} - before
    assert not strangers, "files beside"
    assert not list(folder.parent.glob(f"*{hostile.MARK}*"))
    found = {}
    for file in sorted((folder / "out").rglob("*")):
        assert hostile.MARK not in file.name
        if file.suffix in hostile.LANGUAGES:
            found[file.relative_to(folder).as_posix()] = hostile.LANGUAGES[file.suffix](file.read_text("utf-8"))
    return found


def try_all(tmp_path: Path, name: str, strings: dict[str, str]) -> None:
    kind = KINDS[name]
    wanted = list(dict.fromkeys(kind.places()))
    assert wanted
    number = 0
    for place in wanted:
        number += 1
        usual = attempt(tmp_path / f"{number}", kind, place, hostile.MARK) if name in STRUCTURED else {}
        for title, text in strings.items():
            number += 1
            where = f"{name}: {'.'.join(map(str, place))}: {title}"
            try:
                found = attempt(tmp_path / f"{number}", kind, place, text)
            except BaseException as e:
                e.add_note(where)
                raise
            for file, structure in found.items():  # what is refused isn't written at all
                if file in usual:
                    assert structure == usual[file], f"{where}: {file} has another structure"
            for sink in kind.sinks:
                TRIED.setdefault(name, set()).add((title, ".".join(map(str, place)), sink))


STRUCTURED = ("spec in safetensors", "bench record", "recipe", "training log")  # of which C, pages and tables are made


@pytest.mark.parametrize("name", ["spec in safetensors", "bench record", "training log", "suite"])
def test_no_string_leaves_its_place(tmp_path: Path, name: str) -> None:
    try_all(tmp_path, name, {"everything": EVERYTHING})


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_no_hostile_string_leaves_its_place(tmp_path: Path, name: str) -> None:
    other = name.startswith("manifest in ") and name != "manifest in safetensors"  # they differ in how it is found
    try_all(tmp_path, name, {"everything": EVERYTHING} if other else HOSTILE)


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_a_string_of_100_mb(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    place = next(iter(kind.places()))
    attempt(tmp_path / "1", kind, place, "\x1b*/<script>" * 10_000_000)
    for file in (tmp_path / "1" / "out").rglob("*"):
        assert not file.is_file() or file.suffix == ".json" or file.stat().st_size < 1 << 20
