"""Open exports made to run code, to be believed or to be expensive, by the commands, with all events recorded."""

from __future__ import annotations

import base64
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from gan_export import checkpoint
from gan_export.exporters import find
from gan_export.exporters.base import Options, write
from gan_export.formats.registry import FORMATS
from tests.conftest import error_lines
from tests.security import corpus
from tests.security.calls import CANARY, CODE, TOUCH
from tests.security.files import manifest_data, old_manifest_data
from tests.security.kinds import HOLDERS
from tests.security.watched import HONEST, Job, Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("watched") / "root"
    root.mkdir()
    return Place(root)


# -- manifests, in every format


def _with(**changes: Any) -> Callable[[str], str]:
    """Return a valid manifest of a format with these fields changed; `a__b` is b in a.

    With facts, it has version 1.
    """

    def make(form: str) -> str:
        whole = old_manifest_data() if any(name.startswith("facts") for name in changes) else manifest_data()
        data = {**whole, "format": form}
        for name, value in changes.items():
            outer, _, inner = name.partition("__")
            if inner:
                data[outer] = {**data[outer], inner: value}
            else:
                data[outer] = value
        return json.dumps(data)

    return make


def _port(**changes: Any) -> Callable[[str], str]:
    """Return a valid manifest of a format with these fields of its latent's port changed."""
    latent = manifest_data()["signature"]["inputs"][0]
    return _with(signature__inputs=[{**latent, **changes}])


_DIGITS = "9" * 5000
_BOMB = base64.b64encode(zlib.compress(bytes(100_000_000), 9)).decode()
MANIFESTS: dict[str, Callable[[str], str]] = {
    "deep": lambda _: "[" * 100_000 + "]" * 100_000,
    "deep tables": lambda _: '{"version": ' * 100_000 + "2" + "}" * 100_000,
    "deep options": lambda f: _with(options=0)(f).replace('"options": 0', '"options": ' + "[" * 900 + "]" * 900),
    "digits": lambda f: _with(facts__nz=0)(f).replace('"nz": 0', f'"nz": {_DIGITS}'),
    "digits in the version": lambda _: f'{{"version": {_DIGITS}}}',
    "not a number": _with(facts__range=[float("nan"), float("inf")]),
    "a list": lambda _: "[]",
    "a text": lambda _: json.dumps(CODE),
    "nothing": lambda _: "{}",
    "no JSON": lambda _: CODE,
    "a name twice": lambda f: _with()(f).replace("{", '{"format": "x", ', 1),
    "facts that are a list": _with(facts=[]),
    "options that are a text": _with(options=TOUCH),
    "versions that are numbers": _with(versions={"x": 1}),
    "a latent of 2^62": _with(facts__nz=1 << 62),
    "an image of 2^93": _with(facts__image=[1 << 31] * 3),
    "classes of 2^62": _with(facts__classes=1 << 62),
    "fewer than no classes": _with(facts__classes=-1),
    "an image of two sides": _with(facts__image=[1, 2]),
    "a graph of 2^40 images": _with(options={"static": 1 << 40}),
    "latents of 2^40": _with(options={"recalibrate": 1 << 40}),
    "references that unpack to 100 MB": _with(references=_BOMB),
    "references that are none": _with(references=TOUCH),
    "a signature that is a text": _with(signature=CODE),
    "a port of 2^62": _port(shape=[1 << 62]),
    "a port of 2^93": _port(shape=[1 << 31] * 3),
    "a port of 2^300": _port(shape=[1 << 300]),
    "a size that is code": _port(shape=[CODE]),
    "a size that is nobody's": _port(shape=["S*1000000000"]),
    "a port that is code": _port(name=f"*/ {CODE} /*"),
    "two ports of a name": _with(signature__inputs=manifest_data()["signature"]["inputs"] * 2),
    "10,000 ports": _with(
        signature__inputs=[{**manifest_data()["signature"]["inputs"][0], "name": f"z{i}"} for i in range(10_000)]
    ),
    "an architecture that is code in version 2": _with(arch=f"*/ {CODE} /*"),
    "an architecture that is code": _with(facts__arch=f"*/ {CODE} /*"),
    "a symbol that is code": _with(options={"symbol": f"x(void); {CODE}"}),
    "a symbol elsewhere": _with(options={"symbol": f"../../{CANARY}"}),
    "a device that is code": _with(options={"device": f"; {TOUCH}"}),
    "flags that are code": _with(options={"overrides": {"arch": f"$({TOUCH})"}}),
    "flags that are none": _with(options={"overrides": {"__class__": CODE}}),
    "lone surrogates": lambda f: _with(versions={"x": "?"})(f).replace("?", "\\ud800"),
}


@pytest.mark.long
def test_a_manifest_is_never_believed(place: Place) -> None:
    """It is refused in one line, in every format.

    A file with only the format's frame can't be run, so nothing is run.
    """
    jobs: list[Job] = [
        (f"{HONEST} verify", "export", ["verify", str(place.gan)]),
        (f"{HONEST} inspect", "export", ["inspect", str(place.checkpoint)]),
    ]
    # these show what a runtime looks up when it is first used
    for form in ("safetensors", "onnx", "openvino", "ncnn"):
        export = place.files / f"honest {form}" / HOLDERS[form][0]
        export.parent.mkdir()
        write(find(form), checkpoint.read(place.checkpoint), export, Options())
        jobs.append((f"{HONEST} {form}", "sample", [str(export), "-n", "1", "-o", str(place.out / "h.png")]))
    for form, (file, make) in HOLDERS.items():
        for i, (name, manifest) in enumerate(MANIFESTS.items()):
            folder = place.files / f"{form} {name}"
            folder.mkdir()
            make(folder, manifest("native" if form == "gan" else form))
            path = str(folder / file)
            jobs.append((f"{form}: {name}: inspect", "export", ["inspect", path]))
            # a program is compiled and run if it is named, whatever it states
            if any(f.program for f in FORMATS if f.name == form):
                continue
            if i % 2:
                jobs.append((f"{form}: {name}: sample", "sample", [path, "-n", "1", "-o", str(place.out / "s.png")]))
            else:
                jobs.append((f"{form}: {name}: verify", "export", ["verify", path]))
    for name, (code, output) in place.run(jobs).items():
        if name.startswith(HONEST):
            assert code == 0, output
        else:  # a command doesn't check what it doesn't use
            assert code in (1, 2) or (code == 0 and not name.endswith("verify")), (name, output)
            assert "Traceback" not in output, (name, output)
            if code == 2:
                assert len([x for x in error_lines(output) if "warning:" not in x]) == 1, (name, output)


# -- OpenVINO's pair


def _openvino(raw: str) -> dict[str, str]:
    """Return IRs made from a valid one."""
    start = raw.index("<net ")
    whole = '<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd"><!ENTITY y "&x;&x;">]>'
    bomb = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
    manifest = raw.index("<manifest value=") + len('<manifest value="')
    return {
        "a document type": raw[:start] + whole + raw[start:],
        "an entity in a name": raw[:start] + whole + raw[start:].replace('name="', 'name="&x;', 1),
        "an entity in the manifest": raw[:start] + whole + raw[start:manifest] + "&x;" + raw[manifest:],
        "an entity that nothing declares": raw[:manifest] + "&x;" + raw[manifest:],
        "entities of entities": raw[:start] + f'<!DOCTYPE net [<!ENTITY a0 "x">{bomb}]>'
        + raw[start:].replace('name="', 'name="&a9;', 1),
        "an external document type": raw[:start] + f'<!DOCTYPE net SYSTEM "http://127.0.0.1:9/{CANARY}">' + raw[start:],
        "an included file": raw[:start] + raw[start:].replace(
            "<layers>", '<layers><xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>', 1
        ),
        "a stylesheet": raw[:start] + f'<?xml-stylesheet href="../{CANARY}"?>' + raw[start:],
        "weights beyond the end": raw.replace('offset="0"', 'offset="99999999999"', 1),
        "weights before the start": raw.replace('offset="0"', 'offset="-64"', 1),
        "a file in an attribute": raw.replace('offset="0"', f'offset="0" path="../../{CANARY}" file="/etc/passwd"', 1),
        "an extension": raw.replace("<layers>", f'<layers><extension path="../{CANARY}.so"/>', 1),
        "an operator of a library": raw.replace('type="ReLU"', f'type="{CANARY}" version="extension"', 1),
        "layers without end": raw[:start] + "<net " + "<a>" * 100_000,
    }  # fmt: skip


@pytest.mark.long
def test_an_openvino_pair(place: Place) -> None:
    honest = place.files / "h.xml"
    write(find("openvino"), checkpoint.read(place.checkpoint), honest, Options())
    weights, raw = honest.with_suffix(".bin").read_bytes(), honest.read_text()
    files = []
    for name, text in _openvino(raw).items():
        path = place.files / f"{name}.xml"
        path.write_text(text)
        path.with_suffix(".bin").write_bytes(weights)
        files.append(path)
    for name, target in (("link", "/etc/passwd"), ("nowhere", f"../{CANARY}"), ("itself", "itself.bin")):
        path = place.files / f"{name}.xml"
        path.write_text(raw)
        path.with_suffix(".bin").symlink_to(target)
        files.append(path)
    jobs: list[Job] = []
    for path in (honest, *files):
        name = HONEST if path == honest else path.stem
        jobs += [
            (f"{name}: sample", "sample", [str(path), "-n", "1", "-o", str(place.out / "o.png")]),
            (f"{name}: inspect", "export", ["inspect", str(path)]),
        ]
        if path.stem in ("h", "link", "an entity in a name"):  # in a process of its own, which takes a second
            jobs.append((f"{name}: verify", "export", ["verify", str(path)]))
    for name, (code, output) in place.run(jobs).items():
        assert code in ((0,) if name.startswith(HONEST) else (0, 1, 2)), (name, output)
        assert "Traceback" not in output, (name, output)
        assert "root:" not in output, (name, output)


# -- arrays to train on


@pytest.mark.long
def test_arrays_that_a_recipe_names(place: Place) -> None:
    jobs: list[Job] = [(f"{HONEST} list", "train", ["list"])]
    for name, raw in corpus.arrays():
        (place.files / name).write_bytes(raw)
        words = ["mnist32-demo", "--set", "data.source=npz", "--set", f"data.path={place.files / name}"]
        jobs.append((name, "train", [*words, "-o", str(place.out / f"run-{name}")]))
    for name, (code, output) in place.run(jobs).items():
        assert code == (0 if name.startswith(HONEST) else 2), (name, output)
        assert "Traceback" not in output, (name, output)


# -- PyTorch's and ONNX's own containers


@pytest.fixture(scope="module")
def exported(place: Place) -> dict[str, bytes]:
    """Return the entries of a valid .pt2."""
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
    "a guard that takes long": lambda e: {
        **e, _MODEL: _changed(e[_MODEL], lambda d: d.update(guards_code=["9**9**9"]))
    },
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
    """torch.export.load would unpickle, evaluate and import; a valid file, repacked in the same way, is read."""
    jobs: list[Job] = []
    for name, trick in {HONEST: lambda e: e, **TRICKS}.items():
        path = place.files / f"{name}.pt2"
        path.write_bytes(_packed(trick(exported)))
        doors = [
            ("sample", "sample", [str(path), "-n", "1", "-o", str(place.out / "s.png")]),
            ("inspect", "export", ["inspect", str(path)]),
        ]
        if name in (HONEST, "a pickled weight"):  # its worker loads the file in the same way, and takes seconds
            doors.append(("verify", "export", ["verify", str(path)]))
        for door, program, words in doors:
            jobs.append((f"{name}: {door}", program, words))
    for name, (code, output) in place.run(jobs).items():
        wanted = (0, 1) if name.startswith(HONEST) else (0, 1, 2) if name.endswith("inspect") else (1, 2)
        assert code in wanted, (name, output)
        assert "Traceback" not in output


@pytest.mark.long
def test_onnx_weights_elsewhere(place: Place) -> None:
    honest = place.files / "h.onnx"
    write(find("onnx"), checkpoint.read(place.checkpoint), honest, Options(external_data=True))
    raw = honest.read_bytes()
    beside = next(p.name for p in place.files.iterdir() if p.name.startswith("h.onnx") and p != honest).encode()
    assert raw.count(beside)
    forged = []
    for i, location in enumerate((b"/etc/passwd", b"../../x.dat", b"x/../../dat", b"C:\\passwd.x")):
        assert len(beside) == len(location)
        forged.append(place.files / f"forged{i}.onnx")
        forged[-1].write_bytes(raw.replace(beside, location))
    linked = place.files / "linked"
    linked.mkdir()
    (linked / "h.onnx").write_bytes(raw)
    (linked / beside.decode()).symlink_to("/etc/passwd")
    jobs: list[Job] = [(f"{HONEST} onnx", "sample", [str(honest), "-n", "1", "-o", str(place.out / "o.png")])]
    jobs.append((f"{HONEST} onnx, verified", "export", ["verify", str(honest)]))
    for file in (*forged, linked / "h.onnx"):
        jobs += [
            (f"sample {file}", "sample", [str(file), "-n", "1", "-o", str(place.out / "o.png")]),
            (f"verify {file}", "export", ["verify", str(file)]),
        ]
    for name, (code, output) in place.run(jobs).items():
        assert code == (0 if name.startswith(HONEST) else 2), (name, output)
        assert "root:" not in output
