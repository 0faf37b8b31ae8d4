"""Test hostile strings in every field of every kind of file: no text that is written changes its structure."""

from __future__ import annotations

import gc
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gan_export import checkpoint
from gan_export._lib.budget import SPARE_BYTES
from gan_export.errors import GanExportError
from gan_export.exporters import EXPORTERS
from gan_export.exporters.base import Options, unavailable_reason, write
from gan_export.formats import manifest as manifests
from gan_export.graph.spec import SPEC_KEY, GeneratorSpec
from tests.conftest import error_lines
from tests.security import hostile
from tests.security.files import every_layer, own_safetensors, spec_of
from tests.security.hostile import EVERYTHING, HOSTILE, Place, terminal
from tests.security.kinds import KINDS, Plants

# C, pages and tables are made from these
STRUCTURED = ("spec in safetensors", "bench record", "recipe", "training log")
STRINGS = tuple(HOSTILE.values())


class Trial:
    """Files of one kind, with many hostile strings each.

    All pairs of a string and a field occur in as many files as there are strings: file k has string i + k in field i. A
    field that refuses a plain word has a closed set, and a refused string hides the others from the file's readers.  So
    those are tried by themselves.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.kind, self.folder = name, KINDS[name], folder
        self.numbers = itertools.count()
        self.usual: dict[tuple[Place, ...], dict[str, object]] = {}
        self.tried: set[tuple[Place, str]] = set()
        self.places = list(dict.fromkeys(self.kind.places()))

    @cached_property
    def free(self) -> list[Place]:
        found = [p for p in self.places if self.kind.reads and self._reads({p: hostile.MARK})]
        assert found or self.kind.reads is None
        return found

    def turn(self, k: int) -> None:
        """Try a string in each field."""
        strings = {place: STRINGS[(i + k) % len(STRINGS)] for i, place in enumerate(self.places)}
        self.tried |= set(strings.items())
        if self.name in STRUCTURED:  # `nothing` has the empty text, which leaves out the text around it
            strings = {place: text or hostile.MARK for place, text in strings.items()}
        for start in range(0, len(self.free), len(STRINGS)):  # no string twice in a file
            for plants in self._read_together({p: strings[p] for p in self.free[start : start + len(STRINGS)]}):
                self.hold(plants)
        for place in self.places:
            if place not in self.free and (self.kind.reads is None or self._reads({place: strings[place]})):
                self.hold({place: strings[place]})

    def nothing(self) -> None:
        """Try the empty text in every field at once."""
        for plants in self._read_together(dict.fromkeys(self.free, "")):
            self._written(plants)

    def hold(self, plants: Plants) -> None:
        """Check all texts that are written from a file."""
        try:
            found = self._written(plants)
            if self.name in STRUCTURED:
                key = tuple(plants)
                if key not in self.usual:
                    self.usual[key] = self._written({p: f"{hostile.MARK}{i}" for i, p in enumerate(plants)})
                for file in found.keys() & self.usual[key].keys():  # a refused file writes nothing
                    assert found[file] == self.usual[key][file], f"{file} has another structure"
        except BaseException as e:
            e.add_note(f"{self.name}: " + "; ".join(f"{'.'.join(map(str, p))}: {t[:80]!r}" for p, t in plants.items()))
            raise

    def _read_together(self, plants: Plants) -> Iterator[Plants]:
        """Yield plants, as many as the reader accepts in one file; refused ones are left out."""
        if not plants:
            return
        if self._reads(plants):
            yield plants
        elif len(plants) > 1:
            items = list(plants.items())
            halves = [dict(items[: len(items) // 2]), dict(items[len(items) // 2 :])]
            parts = [part for half in halves for part in self._read_together(half)]
            whole = {place: text for part in parts for place, text in part.items()}
            yield from [whole] if len(whole) < len(plants) and self._reads(whole) else parts

    def _reads(self, plants: Plants) -> bool:
        """Return whether the library's reader accepts the file; if not, it must state why in one line."""
        folder = self._made(plants)
        assert self.kind.reads
        refusal = ""
        try:
            self.kind.reads(folder)
        except GanExportError as e:
            refusal = str(e)
        terminal(refusal)
        assert len(error_lines(refusal)) <= 1
        shutil.rmtree(folder)
        return not refusal

    def _made(self, plants: Plants) -> Path:
        folder = self.folder / f"{next(self.numbers)}"
        (folder / "out").mkdir(parents=True)
        self.kind.make(folder, plants)
        return folder

    def _written(self, plants: Plants) -> dict[str, object]:
        """Return the structure of each text that is written; each text is checked by itself as well."""
        folder = self._made(plants)
        out = folder / "out"
        before = {f for f in folder.rglob("*") if not f.is_relative_to(out)}
        codes = [sink(folder) for sink in self.kind.sinks.values()]
        assert codes[0] in (0, 1) or self.kind.reads is None or len(plants) == 1, "what the reader takes is refused"
        assert not {f for f in folder.rglob("*") if not f.is_relative_to(out)} - before, "files beside"
        assert not list(self.folder.glob(f"*{hostile.MARK}*"))
        found = {}
        for file in sorted(f for f in out.rglob("*") if "site" not in f.parts):
            assert hostile.MARK not in file.name
            if file.suffix in hostile.LANGUAGES:
                text = file.read_text("utf-8")
                found[file.relative_to(folder).as_posix()] = hostile.LANGUAGES[file.suffix](text)
        shutil.rmtree(folder)
        return found


@pytest.mark.parametrize("name", [n for n in KINDS if n != "manifest in a sound .gan"])
def test_no_string_leaves_its_place(tmp_path: Path, name: str) -> None:
    """A string in each field."""
    Trial(tmp_path, name).turn(4)


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in KINDS if n != "manifest in a sound .gan"])
def test_no_hostile_string_leaves_its_place(tmp_path: Path, name: str) -> None:
    """Each string in each field, and all strings at once in each field that takes none."""
    trial = Trial(tmp_path, name)
    for k in range(len(STRINGS)):
        trial.turn(k)
    trial.nothing()
    assert len(trial.tried) == len(trial.places) * len(STRINGS)
    for place in trial.places:
        if place not in trial.free:
            trial.hold({place: EVERYTHING})


@pytest.mark.long
def test_no_string_leaves_a_manifest_that_is_verified(tmp_path: Path) -> None:
    """Each string in at least one field, because each file of this kind is run, which takes a second."""
    trial = Trial(tmp_path, "manifest in a sound .gan")
    for k in range(0, len(STRINGS), len(trial.free)):
        trial.turn(k)
    for place in trial.places:
        if place not in trial.free:
            trial.hold({place: EVERYTHING})


# 100 MB by GAN_TEST_MB=100, which takes three times as long.
LONG = "\x1b*/<script>" * (100_000 * int(os.environ.get("GAN_TEST_MB", "30")))


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in KINDS if n != "manifest in a sound .gan"])
def test_a_string_of_many_megabytes(tmp_path: Path, name: str) -> None:
    """In a field that takes any string if there is one, through every sink."""
    trial = Trial(tmp_path / "tried", name)
    folder = tmp_path / "long"
    (folder / "out").mkdir(parents=True)
    trial.kind.make(folder, {(trial.free or trial.places)[0]: LONG})
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    assert size > len(LONG)
    for title, sink in trial.kind.sinks.items():
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        before = _status("VmRSS")
        sink(folder)
        assert _status("VmHWM") - before < 2 * size + SPARE_BYTES, title
    for file in (folder / "out").rglob("*"):
        assert not file.is_file() or file.stat().st_size < 1 << 20


def _status(name: str) -> int:
    """Return bytes of this process's memory: VmRSS now, or VmHWM, the maximum."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


# ---- exports: files that their own libraries write


def _renamed(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a spec with as many more layers as there are strings, each named by one of them."""
    usual = [la["name"] for la in spec["layers"]]
    strings = [text for text in STRINGS if text]
    names = dict(zip(usual, strings, strict=False))
    for layer in spec["layers"]:
        layer.update(name=names[layer["name"]], inputs=[names.get(i, i) for i in layer["inputs"]])
    for name in strings[len(usual) :]:
        before = spec["layers"][-1]["name"]
        spec["layers"].append({"op": "Activation", "name": name, "inputs": [before], "kind": "tanh"})
    return spec


_QUICK = ("native", "safetensors", "c")
_SLOW = ("aoti",)  # a minute of a C++ compiler, for a graph with the names of .pt2's


@pytest.mark.parametrize(
    "form",
    [pytest.param(e, id=e.name, marks=[] if e.name in _QUICK else pytest.mark.long)
     for e in EXPORTERS if e.name not in _SLOW],
)  # fmt: skip
def test_exports_hold_strings_as_data(tmp_path: Path, form: Any) -> None:
    """Every string as a layer's name, in one file; its manifest must be read back as it was written."""
    if why := unavailable_reason(form):
        pytest.skip(why)
    spec = spec_of() if form.name == "ncnn" else every_layer()  # ncnn has no labels
    source = checkpoint.read(own_safetensors(tmp_path / "source.safetensors", _renamed(spec)))
    out = tmp_path / "out"
    out.mkdir()
    target = out / f"g{form.suffix}"
    manifest = write(form, source, target, Options())
    kind = manifests.detect_format(target)
    assert manifests.read_manifest(target, kind) == manifest
    if form.name == "safetensors":
        raw = target.read_bytes()
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        assert GeneratorSpec.from_json(json.loads(header["__metadata__"][SPEC_KEY])) == source.spec
        assert checkpoint.read(target).spec == source.spec
        return
    for file in (f for f in out.rglob("*") if f.is_file()):
        raw = file.read_bytes()
        left = [title for title, text in HOSTILE.items() if text.encode("utf-8", "surrogatepass") in raw]
        assert form.name == "native" or set(left) <= {"plain", "nothing"}, file.name  # .gan: names as data
    if form.name == "onnx":
        import onnx

        texts = list(_texts_of(onnx.load(target)))
        assert len(texts) > len(STRINGS)
        assert all(re.fullmatch(r"[\w./: -]*", t, re.ASCII) for k, t in texts if k != "value"), texts
    if form.name == "openvino":
        root = ElementTree.parse(target).getroot()
        assert all(re.fullmatch(r"[\w./,:\- ]*", str(e.get("name", ""))) for e in root.iter())
        assert [e.get("value") for e in root.iter("manifest")] == [manifest.to_json()]


def _texts_of(message: Any) -> Iterator[tuple[str, str]]:
    """Yield each string of a protobuf message, with its field's name."""
    for field, value in message.ListFields():
        many = value if field.is_repeated else [value]
        if field.type == field.TYPE_STRING:
            yield from ((field.name, text) for text in many)
        elif field.type == field.TYPE_MESSAGE:
            for item in many:
                yield from _texts_of(item)
