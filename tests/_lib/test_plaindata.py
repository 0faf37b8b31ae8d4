"""JSON and TOML of strangers: what is read as Python reads it, and what ends in one ValueError, at once."""

from __future__ import annotations

import json
import time
import tomllib

import pytest

from gan_export._lib.plaindata import DEEPEST, LARGEST_TOML, from_json, from_toml
from gan_export.datasets.plan import Partition
from gan_export.errors import GanExportError
from gan_export.training import recipe

SOUND = {"a": [1, -1, 2**64 - 1, -(2**63), 1.5, 1e300, True, None, "x", {"b": {}}], "c": []}


def test_what_is_sound_is_read() -> None:
    assert from_json(json.dumps(SOUND)) == SOUND
    assert from_json(json.dumps(SOUND).encode()) == SOUND
    assert from_json("[" * DEEPEST + "]" * DEEPEST)
    assert from_json('{"a": 1, "a": 2}', pairs=list) == [("a", 1), ("a", 2)]
    for path in recipe.known().values():
        assert from_toml(path.read_text()) == tomllib.loads(path.read_text())


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, "[" * 66 + "]" * 66, "9" * 5000, "-" + "9" * 5000, "9" * 21,
        "[1, " + "9" * 4000 + "]", "", "{", "\0", b"\xff\xfe", "nope",
    ],
)  # fmt: skip
def test_json_that_is_none(text: str | bytes) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match=r"."):
        from_json(text)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 5000, "x = " + "9" * 5000, "x = " + "9" * 300, "x = 0x" + "f" * 5000, "x = -" + "9" * 40,
        ".".join(["a"] * 60_000) + " = 1", "[" + ".".join(["a"] * 60_000) + "]", ".".join(["a"] * 1000) + " = 1",
        "x = {" + ".".join(["a"] * 3000) + " = 1}", "x = 1\n" * 2, "x", "#" * (LARGEST_TOML + 1),
    ],
)  # fmt: skip
def test_toml_that_is_none(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match=r"."):
        from_toml(text)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("text", ["1/" + "9" * 5000, "9" * 5000 + "/" + "9" * 5000])
def test_a_slice_of_too_many(text: str) -> None:
    with pytest.raises(GanExportError, match="must be K/N"):
        Partition.parse(text)
