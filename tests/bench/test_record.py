"""Test a run on disk: it is read back equal, refused if it is anything else, and never overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_export.bench import record
from gan_export.bench.record import Run
from gan_export.errors import GanExportError

pytestmark = pytest.mark.timeout(900)  # the first test measures for all others: slow on a busy machine
SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "bench.schema.json"


def test_read_back_equal(measured: Run, tmp_path: Path) -> None:
    path = tmp_path / record.file_name(measured)
    record.write(measured, path)
    assert record.read(path) == measured
    assert str(record.to_text(record.read(path))) == path.read_text()


def test_never_overwritten(measured: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("mine")
    with pytest.raises(GanExportError, match="never overwritten"):
        record.write(measured, path)
    assert path.read_text() == "mine"


def test_holds_no_place_of_this_machine(measured: Run, files: dict[str, Path]) -> None:
    text = str(record.to_text(measured))
    for place in (str(Path.home()), str(files["onnx"].parent), str(Path.cwd())):
        assert place not in text


def test_a_record_from_before_a_field_is_read(measured: Run) -> None:
    data = json.loads(str(record.to_text(measured)))
    for row in data["rows"]:
        del row["unproven"]
    del data["settings"]["clock"]
    assert record.parse(json.dumps(data), "run.json") == measured


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another schema": (lambda d: d.update(schema="gan-export/bench/99"), "of schema gan-export/bench/99"),
    "no schema": (lambda d: d.pop("schema"), "no result of gan-bench"),
    "a field less": (lambda d: d.pop("rows"), "rows is missing"),
    "a field more": (lambda d: d.update(extra=1), "unknown field extra"),
    "a field less inside": (lambda d: d["rows"][0].pop("blocks"), r"rows\[0\].blocks is missing"),
    "text for a number": (lambda d: d["settings"].update(rounds="7"), "settings.rounds is 7; a whole number is needed"),
    "a truth for a number": (
        lambda d: d["settings"].update(rounds=True),
        "settings.rounds is True; a whole number is needed",
    ),
    "a number for samples": (lambda d: d["rows"][0].update(blocks=5), "a list is needed"),
    "text for a sample": (lambda d: d["rows"][0].update(blocks=[["x"]]), "x; a whole number is needed"),
    "an unknown quantity": (
        lambda d: d["rows"][0].update(quantity="guess"),
        "guess; one of model, end_to_end is needed",
    ),
    "an image that is no list": (lambda d: d["model"].update(image="1, 2"), "a list of whole numbers is needed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_does_not_fit_the_schema_is_refused(name: str, measured: Run) -> None:
    change, message = CHANGES[name]
    data = json.loads(str(record.to_text(measured)))
    change(data)
    with pytest.raises(GanExportError, match=message):
        record.parse(json.dumps(data), "run.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"gan-export/bench/1"', "NaN"])
def test_what_is_no_run_is_refused(text: str) -> None:
    with pytest.raises(GanExportError, match=r"run\.json"):
        record.parse(text, "run.json")


def test_the_written_schema_names_the_same_fields(measured: Run) -> None:
    schema = json.loads(SCHEMA.read_text())
    assert schema["properties"]["schema"]["const"] == record.SCHEMA
    _fits(schema, json.loads(str(record.to_text(measured))), schema, "run")


def _fits(schema: dict[str, Any], value: Any, root: dict[str, Any], where: str) -> None:
    """Check a value against the part of JSON Schema that the file uses."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        if value is not None:
            _fits(schema["anyOf"][0], value, root, where)
        return
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    python = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    assert not kinds or any(value is None if k == "null" else isinstance(value, python[k]) for k in kinds), where
    if isinstance(value, dict) and "properties" in schema:
        assert set(value) == set(schema["properties"]), where
        assert set(value) - set(schema["required"]) <= {"unproven", "clock"}, where
        assert schema["additionalProperties"] is False
        for key, item in value.items():
            _fits(schema["properties"][key], item, root, f"{where}.{key}")
    elif isinstance(value, dict) and "additionalProperties" in schema:
        for key, item in value.items():
            _fits(schema["additionalProperties"], item, root, f"{where}.{key}")
    elif isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            _fits(schema["items"], item, root, f"{where}[{i}]")
