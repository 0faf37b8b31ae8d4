"""Test that strings of a file that name a path or a symbol are checked against a closed set when read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan_export.errors import GanExportError
from gan_export.formats.manifest import Manifest
from gan_export.runtimes.c import C
from gan_export.training import recipe
from tests.security.files import manifest_data, old_manifest_data


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "", "a\nb", "a\x00", "c:x", "x" * 101, " x", "\u202ex"])
def test_a_recipe_names_no_other_folder(tmp_path: Path, name: str) -> None:
    """A run without -o is written to runs/NAME."""
    file = tmp_path / "r.toml"
    file.write_text(f"name = {json.dumps(name)}\n")
    with pytest.raises(GanExportError, match="the name of a folder"):
        recipe.load(str(file))


def test_a_recipe_may_be_called_as_a_folder_is(tmp_path: Path) -> None:
    file = tmp_path / "My recipe (2).toml"
    file.write_text("")
    assert recipe.load(str(file)).name == "My recipe (2)"


@pytest.mark.parametrize("symbol", ["../x", "x(void); int y", "x\n#include <a>\n", "", "é"])
def test_a_folder_of_c_names_no_other_source(tmp_path: Path, symbol: str) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest_data(), "options": {"symbol": symbol}}))
    with pytest.raises(GanExportError, match="options"):
        C.load(tmp_path)


@pytest.mark.parametrize("arch", ["x*/", "<b>", "", "A", "a" * 65, "a\n"])
def test_a_manifest_names_an_architecture_plainly(arch: str) -> None:
    data = old_manifest_data()
    data["facts"]["arch"] = arch
    with pytest.raises(GanExportError, match="architecture"):
        Manifest.from_json(json.dumps(data))


@pytest.mark.parametrize("arch", ["x*/", "<b>", "", "1A", "a" * 65, "a\n", "A.b", "\xc9"])
def test_a_manifest_names_a_class_by_an_identifier(arch: str) -> None:
    with pytest.raises(GanExportError, match="architecture"):
        Manifest.from_json(json.dumps({**manifest_data(), "arch": arch}))
    assert Manifest.from_json(json.dumps({**manifest_data(), "arch": "My_G2"})).arch == "My_G2"
