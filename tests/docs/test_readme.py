"""README.md is what docs/make_readme.py makes: its text and tables to the letter, its blocks by their commands."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from tests.conftest import ROOT


def maker() -> Any:
    spec = importlib.util.spec_from_file_location("make_readme", ROOT / "docs" / "make_readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_made_by_its_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    make = maker()
    blocks = {
        tuple(re.findall(r"(?m)^\$ (.*)$", block)): block for block in re.findall(r"(?ms)^```\n\$ .*?^```$", readme)
    }
    assert make.filled(lambda name: blocks[make.COMMANDS[name]]) == readme, "run python docs/make_readme.py"


def test_its_links_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", readme)
    assert len(targets) > 30
    assert [target for target in targets if not (ROOT / target).exists()] == []
