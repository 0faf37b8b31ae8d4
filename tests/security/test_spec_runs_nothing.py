"""A spec's `arch` was once written unescaped into a comment of C, so a `.safetensors` file could run code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gan_export.cli.export import app
from tests.security.files import own_safetensors, spec_of


@pytest.mark.parametrize("arch", ["DCGAN", "", "a" * 65, "a b", "a*/", "dcgan\n", "é", "../x"])
def test_an_architecture_is_a_plain_name(tmp_path: Path, arch: str) -> None:
    file = own_safetensors(tmp_path / "g.safetensors", {**spec_of(), "arch": arch})
    result = CliRunner().invoke(app, ["inspect", str(file)])
    assert result.exit_code == 1
    assert "architecture" in str(result.exception)


@pytest.mark.parametrize("form", ["c", "native"])
def test_a_spec_runs_nothing_when_it_is_exported(tmp_path: Path, form: str) -> None:
    proof = tmp_path / "ran"
    runs = f'__attribute__((constructor)) static void f(void) {{ if (system("touch {proof}")) {{ }} }}'
    code = f"#ifndef ONCE\n#define ONCE\n#include <stdlib.h>\n{runs}\n#endif"
    file = own_safetensors(tmp_path / "g.safetensors", {**spec_of(), "arch": f"x */\n{code}\n/*"})
    CliRunner().invoke(app, [form, str(file), "-o", str(tmp_path / "out")])
    assert not proof.exists()
    assert not (tmp_path / "out").exists()


def test_a_spec_of_ours_is_read(tmp_path: Path) -> None:
    file = own_safetensors(tmp_path / "g.safetensors", spec_of())
    result = CliRunner().invoke(app, ["inspect", "--json", str(file)])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["architecture"] == "dcgan"
