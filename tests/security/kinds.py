"""Kinds of files: the places of their strings, how to make one with hostile strings, its readers, its outputs.

The strings of a kind are found by its schema, so a new field is tested as soon as it exists.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gan_export import checkpoint, exporters, web
from gan_export.bench import record, summary
from gan_export.bench.plan import Plan
from gan_export.bench.record import Run
from gan_export.cli.bench import main as gan_bench
from gan_export.cli.bench_tables import print_run
from gan_export.cli.export import main as gan_export
from gan_export.cli.sample import main as gan_sample
from gan_export.cli.train import main as gan_train
from gan_export.datasets.manifest import Manifest as DatasetManifest
from gan_export.errors import GanExportError
from gan_export.exporters.base import Options, write
from gan_export.formats import base, content, flatbuffers
from gan_export.formats import manifest as manifests
from gan_export.formats.manifest import Manifest, VersionOneFacts
from gan_export.graph.layers import LAYERS
from gan_export.graph.spec import GeneratorSpec
from gan_export.recognize.options import ReadOptions
from gan_export.training import events
from gan_export.training.recipe import Recipe
from gan_export.training.recipe import load as load_recipe
from gan_export.training.run_dir import log as read_log
from gan_export.training.run_dir import recipe as read_recipe
from tests.checkpoint.makers import generator, prefixed, saved
from tests.security import hostile
from tests.security.files import EVENTS as FILE_EVENTS
from tests.security.files import (
    dataset_manifest,
    every_layer,
    gan_bytes,
    manifest_data,
    old_manifest_data,
    onnx_model,
    other_layers,
    own_safetensors,
    run_data,
    safetensors_bytes,
    spec_of,
    toml_text,
    training_log,
    weights_of,
)
from tests.security.hostile import Place, all_planted, command, places, planted, terminal
from tests.test_believed import write_gan

Plants = Mapping[Place, str]  # a string at each of these places
Files = Callable[[Path, Plants], None]  # writes the file, or files, with such strings into a folder
# a command that reads them, and writes into the folder `out` or prints; returns its exit code
Sink = Callable[[Path], int]


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: the places of its strings, how to make one, and its readers.

    reads: the library's reader, which raises GanExportError for a file that it refuses; None if only one string per
    file can be tried, through all sinks
    """

    places: Callable[[], Iterator[Place]]
    make: Files
    sinks: Mapping[str, Sink]
    reads: Callable[[Path], object] | None


def _shown(main: Callable[[], object], *arguments: str, code: tuple[int, ...] = (0, 1, 2)) -> Sink:
    """Return a sink that runs a command on the folder's files and checks its output, JSON as JSON."""

    def sink(folder: Path) -> int:
        given = [str(folder / a[1:]) if a.startswith("@") else a for a in arguments]
        result = command(main, *given)
        assert result.code in code
        if "--json" in arguments and result.code == 0:
            hostile.json_file(result.out)
        else:
            terminal(result.out)
        return result.code

    return sink


def _emitted_c(folder: Path) -> int:
    """Write the C export without compiling and verifying it, which a hostile name doesn't need."""
    for embedded in (False, True):
        try:
            read = checkpoint.read(folder / "g.safetensors")
            exporters.find("c").write(read, folder / "out" / f"c{embedded:d}", Options(embed_weights=embedded))
        except GanExportError:
            return 2
    return 0


# ---- manifests, in each format


def _manifest_places() -> Iterator[Place]:
    yield from places(Manifest)
    yield from (("options", manifests.OPTIONS_KEY, f.name) for f in dataclasses.fields(ReadOptions))
    yield ("options", "symbol")


def _manifest(form: str, make: Callable[[Path, str], None]) -> Files:
    def write(folder: Path, plants: Plants) -> None:
        data = {**manifest_data(), "format": "native" if form == "gan" else form}
        make(folder, json.dumps(all_planted(data, plants)))

    return write


def _old_manifest_in_onnx(folder: Path, plants: Plants) -> None:
    _in_onnx(folder, json.dumps(all_planted({**old_manifest_data(), "format": "onnx"}, plants)))


def _reads_manifest(file: str) -> Callable[[Path], object]:
    def reads(folder: Path) -> None:
        path = folder / file
        kind = manifests.detect_format(path)
        if kind == "checkpoint" or manifests.read_manifest(path, kind) is None:
            raise GanExportError("no manifest")

    return reads


def _in_safetensors(folder: Path, manifest: str) -> None:
    own_safetensors(folder / "g.safetensors", spec_of(), {base.KEY: manifest})


def _in_gan(folder: Path, manifest: str) -> None:
    (folder / "g.gan").write_bytes(gan_bytes(manifest))


def _in_onnx(folder: Path, manifest: str) -> None:
    model = onnx_model()
    model.metadata_props.add(key=base.KEY, value=manifest)
    (folder / "g.onnx").write_bytes(model.SerializeToString())


def _in_openvino(folder: Path, manifest: str) -> None:
    from xml.sax.saxutils import escape

    quoted = escape(manifest, {'"': "&quot;"})
    inside = f'<gan-export><manifest value="{quoted}"/></gan-export>'
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
        for name, data in (("constants.pkl", "x"), ("code/x.py", "x"), (f"extra/{base.KEY}", manifest)):
            archive.writestr(f"g/{name}", data)


def _in_litert(folder: Path, manifest: str) -> None:
    (folder / "g.tflite").write_bytes(b"\0\0\0\0TFL3" + flatbuffers.MANIFEST_MARKER + manifest.encode() + b"\0")


@functools.cache
def _sound_gan() -> tuple[bytes, Manifest]:
    """Return a `.gan` file whose reference images are its own, and its manifest."""
    with tempfile.TemporaryDirectory() as name:
        source, target = own_safetensors(Path(name) / "g.safetensors", spec_of()), Path(name) / "g.gan"
        manifest = write(exporters.find("native"), checkpoint.read(source), target, Options())
        return target.read_bytes(), manifest


def _sound(folder: Path, plants: Plants) -> None:
    """Plant strings in a file that is run, because its contents match the stated hash."""
    raw, manifest = _sound_gan()
    path = folder / "g.gan"
    path.write_bytes(raw)
    write_gan(path, json.dumps(all_planted(json.loads(manifest.to_json()), plants), separators=(",", ":")).encode())
    with contextlib.suppress(GanExportError):  # a string instead of the hash is no hash
        content.seal(path, manifest)


def _reads_all(folder: Path) -> None:
    """Read the parts of a manifest that `verify` needs."""
    found = manifests.read_manifest(folder / "g.gan", "gan")
    assert found
    found.overrides()
    found.reference_values()


def _web(folder: Path) -> int:
    """Check that the site is the package's own files, byte for byte, and the generator, which is data."""
    result = command(gan_export, "web", folder / "g.gan", "-o", folder / "out" / "site")
    terminal(result.out)
    site = folder / "out" / "site"
    if result.code == 0:
        ours = [f for f in Path(web.__file__).parent.rglob("*") if f.is_file()]  # each kind of page has its index.html
        for file in site.iterdir():
            match file.name:
                case "generator.gan":
                    read = [manifests.read_manifest(f, "gan") for f in (file, folder / "g.gan")]
                    assert read[0] is not None
                    assert read[0] == read[1]
                case "site.json":
                    assert json.loads(file.read_text()) == {"generator": "generator.gan"}
                case name:
                    assert file.read_bytes() in [f.read_bytes() for f in ours if f.name == name]
    return result.code


# ---- checkpoints


def _kinds_in(spec: dict[str, Any]) -> dict[str, int]:
    """Return the kinds of a spec's layers, with the position of the first of each."""
    ops = [layer["op"] for layer in spec["layers"]]
    return {op: ops.index(op) for op in dict.fromkeys(ops)}


assert {*_kinds_in(every_layer()), *_kinds_in(other_layers())} == {kind.__name__ for kind in LAYERS}


def _spec_places(make: Callable[[], dict[str, Any]]) -> Iterator[Place]:
    yield from (p for p in places(GeneratorSpec) if p[0] != "layers")
    there = _kinds_in(make())
    for kind in LAYERS:  # each kind of a union
        if kind.__name__ in there:
            yield from ((kind.__name__, *p) for p in places(kind))
            yield (kind.__name__, "op")


def _spec(make: Callable[[], dict[str, Any]], folder: Path, plants: Plants) -> None:
    """Make a chain with a layer of each kind; a layer's readers use its new name."""
    spec = make()
    at = _kinds_in(spec)
    renamed = {}
    for place, text in plants.items():
        if place[0] not in at:
            spec = planted(spec, place, text)
            continue
        i = at[str(place[0])]
        if place[1:] == ("name",):
            renamed[spec["layers"][i]["name"]] = text
        spec["layers"][i] = planted(spec["layers"][i], place[1:], text)
    odd = {i for i, place in ((at.get(str(p[0])), p) for p in plants) if "inputs" in place}
    for i, layer in enumerate(spec["layers"]):
        if i not in odd:
            layer["inputs"] = [renamed.get(name, name) for name in layer["inputs"]]
    own_safetensors(folder / "g.safetensors", spec)


def _checkpoint_places() -> Iterator[Place]:
    yield from ((what,) for what in ("key", "value", "owner", "prefix", "tensor"))


def _checkpoint(folder: Path, plants: Plants) -> None:
    """Write a training state in torch's format."""
    owner, prefix, key, value, tensor = (
        plants.get((what,), usual)
        for what, usual in (("owner", "netG"), ("prefix", "model"), ("key", "k"), ("value", "v"), ("tensor", "t"))
    )
    weights = prefixed(generator().state_dict(), f"{prefix}.")
    saved(folder / "g.pth", {owner: weights, "note": value, "extra": {tensor: torch.zeros(3)}, key: 3})


def _named(folder: Path, plants: Plants) -> None:
    """Write a pickle that names a class, or a module."""
    for (what,), text in plants.items():
        module, name = (text, "C") if what == "module" else ("a.b", text)
        named = b"\x93".join((_pickled(module) + _pickled(name), b")R"))
        (folder / "g.pth").write_bytes(b"\x80\x04}" + _pickled("extra") + named + b"s.")


def _pickled(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return b"X" + len(raw).to_bytes(4, "little") + raw


def _tensors(folder: Path, plants: Plants) -> None:
    rest = dict(plants)
    tensors = weights_of({rest.pop(("tensor",), "a.weight"): (4, 4), "b.weight": (2, 4)})
    metadata = all_planted({"format": "pt"}, rest)
    (folder / "g.safetensors").write_bytes(safetensors_bytes(tensors, metadata))


def _onnx_places() -> Iterator[Place]:
    """Yield every text field of the protobuf messages in the small model."""
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


def _onnx(folder: Path, plants: Plants) -> None:
    model = onnx_model()
    for found, message, name in list(_onnx_texts(model)):
        if found in plants:
            setattr(message, name, plants[found].encode("utf-8", "replace").decode())
    model.metadata_props.add(key=base.KEY, value=json.dumps({**manifest_data(), "format": "onnx"}))
    (folder / "g.onnx").write_bytes(model.SerializeToString())


# ---- records, recipes, logs, datasets, suites


def _record(folder: Path, plants: Plants) -> None:
    (folder / "runs").mkdir()
    (folder / "runs" / "run.json").write_text(json.dumps(all_planted(run_data(), plants)))


def _table(folder: Path) -> int:
    """Write what `gan-bench` prints of a run, and its CSV."""
    try:
        run = record.read(folder / "runs" / "run.json")
    except GanExportError:
        return 2
    with contextlib.redirect_stdout(io.StringIO()) as out:
        print_run(run)
    terminal(out.getvalue())
    (folder / "out" / "run.csv").write_text(str(summary.to_csv(run)))
    name = record.file_name(run)
    assert Path(name).name == name
    terminal(name)
    assert "\n" not in name
    return 0


def _recipe(folder: Path, plants: Plants) -> None:
    recipe = all_planted({"name": "x"}, plants)
    (folder / "r.toml").write_text(toml_text(recipe), encoding="utf-8", errors="replace")
    (folder / "run").mkdir()
    (folder / "run" / "recipe.json").write_text(json.dumps(recipe))
    (folder / "run" / "log.jsonl").write_text(training_log(lambda _, data: data, (events.Began,)))


def _log_places() -> Iterator[Place]:
    for event in EVENTS:
        yield from ((event.__name__, *p) for p in places(event))


EVENTS = tuple(e for e in vars(events).values() if dataclasses.is_dataclass(e) and e.__module__ == events.__name__)


def _log(folder: Path, plants: Plants) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "recipe.json").write_text(json.dumps({"name": "x"}))

    def change(name: str, data: dict[str, Any]) -> Any:
        return all_planted(data, {place[1:]: text for place, text in plants.items() if place[0] == name})

    named = {"Began", *(str(place[0]) for place in plants)}  # others would only be plotted
    (folder / "run" / "log.jsonl").write_text(training_log(change, [e for e in FILE_EVENTS if e.__name__ in named]))


def _read_log(folder: Path) -> None:
    read_recipe(folder / "run")
    read_log(folder / "run")


def _read_recipes(folder: Path) -> None:
    read_recipe(folder / "run")
    load_recipe(str(folder / "r.toml"))


def _dataset(folder: Path, plants: Plants) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "MANIFEST.json").write_text(json.dumps(dataset_manifest(plants)))


def _check_dataset(folder: Path) -> None:
    """Check a dataset by the command, which checks more of a job than reading the manifest does."""
    result = command(gan_sample, "check", folder / "data")
    if result.code == 2:
        raise GanExportError(result.err.strip())


def _suite(folder: Path, plants: Plants) -> None:
    suite = all_planted({"threads": 0}, plants)  # fails before anything is measured
    (folder / "s.toml").write_text(toml_text(suite), encoding="utf-8", errors="replace")


HOLDERS: Mapping[str, tuple[str, Callable[[Path, str], None]]] = {  # files with a manifest, by format
   
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
    """Return sinks of the bench, which compares manifests, and refuses two of one kind before it runs anything."""
    return {**_inspects(file), "bench": _shown(gan_bench, f"@{file}", f"@{file}")}


_PAGE = _shown(gan_train, "report", "@run", "-o", "@out/page.html")
KINDS: dict[str, Kind] = {
    **{
        f"manifest in {name}": Kind(_manifest_places, _manifest(name, make), _compares(file), _reads_manifest(file))
        for name, (file, make) in HOLDERS.items()
    },
    "manifest of version 1": Kind(
        lambda: (("facts", *place) for place in places(VersionOneFacts)),
        _old_manifest_in_onnx,
        _compares("g.onnx"),
        None,  # each has a closed set
    ),
    "manifest in a sound .gan": Kind(
        _manifest_places,
        _sound,
        {"web": _web},  # it prints the output of `verify`
        _reads_all,
    ),
    "other spec in safetensors": Kind(
        partial(_spec_places, other_layers),
        partial(_spec, other_layers),
        _inspects("g.safetensors"),
        lambda folder: checkpoint.read(folder / "g.safetensors"),
    ),
    "spec in safetensors": Kind(
        partial(_spec_places, every_layer),
        partial(_spec, every_layer),
        {**_inspects("g.safetensors"), "emitted C": _emitted_c},
        lambda folder: checkpoint.read(folder / "g.safetensors"),
    ),
    "checkpoint": Kind(
        _checkpoint_places, _checkpoint, _inspects("g.pth"), lambda folder: checkpoint.read(folder / "g.pth")
    ),
    "names in a pickle": Kind(lambda: iter([("class",), ("module",)]), _named, _inspects("g.pth"), None),
    "tensors in safetensors": Kind(
        lambda: iter([("tensor",), (hostile.KEY,), ("format",), ("gan-export.spec",), (base.KEY,)]),
        _tensors,
        _inspects("g.safetensors"),
        None,
    ),
    "ONNX": Kind(_onnx_places, _onnx, _inspects("g.onnx"), _reads_manifest("g.onnx")),
    "bench record": Kind(
        lambda: places(Run),
        _record,
        {
            "report": _shown(gan_bench, "report", "@runs", "-o", "@out"),
            "table and CSV": _table,
            "compare": _shown(gan_bench, "compare", "--force", "@runs/run.json", "@runs/run.json"),
        },
        lambda folder: record.read(folder / "runs" / "run.json"),
    ),
    "recipe": Kind(lambda: places(Recipe), _recipe, {"page": _PAGE}, _read_recipes),
    "training log": Kind(_log_places, _log, {"page": _PAGE}, _read_log),
    "dataset manifest": Kind(
        lambda: places(DatasetManifest),
        _dataset,
        {"check": _shown(gan_sample, "check", "@data")},
        _check_dataset,
    ),
    "suite": Kind(lambda: places(Plan), _suite, {"bench": _shown(gan_bench, "--suite", "@s.toml")}, None),
}
