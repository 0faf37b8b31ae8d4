"""A class of the user's own on the command line: imported because it is named, loaded strictly, verified."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gan_export.checkpoint import user_module
from tests.checkpoint.makers import Calls
from tests.checkpoint.test_user_module import SOURCE
from tests.conftest import Command, refused

FILE = """
inputs = [
  { name = "photo", kind = "image", shape = [3, "H", "W"], range = [-1, 1] },
  { name = "style", kind = "style", shape = [5], prior = "normal" },
]
outputs = [
  { name = "image", kind = "image", shape = [3, "H*2", "W*2"], range = [-1, 1] },
  { name = "mask", kind = "values", shape = ["H", "W"], range = [0, 1] },
]
sizes = { H = [4, 2, 256], W = [4, 1, 256] }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine_of_the_cli.py").write_text(SOURCE)
    (tmp_path / "code" / "helper_of_mine.py").write_text("")
    (tmp_path / "maps.toml").write_text(FILE)
    for name, kwargs in (("Plain", {"nz": 7}), ("Maps", {})):
        torch.manual_seed(0)
        cls = user_module.import_class(f"mine_of_the_cli:{name}", [tmp_path / "code"])
        torch.save(cls(**kwargs).state_dict(), tmp_path / f"{name}.pth")
    return tmp_path


def test_one_latent_is_found_and_the_export_is_verified_and_sampled(command: Command, folder: Path) -> None:
    own = ("--module", "mine_of_the_cli:Plain", "--kwargs", json.dumps({"nz": 7}), "--pythonpath", folder / "code")
    result = command("gan-export", "onnx", folder / "Plain.pth", *own)
    assert result.code == 0, result
    assert "z: 7 values of N(0, 1), found by running the module" in result.err
    exported = folder / "Plain.onnx"
    assert result.out.splitlines()[-1].split()[:2] == ["gan-bench", str(exported)]  # bench needs no class
    assert command("gan-export", "verify", exported, folder / "Plain.pth", *own).code == 0
    assert command("gan-export", "verify", exported).code == 0
    assert command("gan-sample", exported, "-n", 3, "-o", folder / "i.npy").code == 0
    assert np.load(folder / "i.npy").shape == (3, 4, 4, 3)


@pytest.mark.long
def test_keyword_only_inputs_free_sizes_and_two_outputs(command: Command, folder: Path) -> None:
    own = ("--module", "mine_of_the_cli:Maps", "--pythonpath", folder / "code", "--signature", folder / "maps.toml")
    result = command("gan-export", "onnx", folder / "Maps.pth", *own)
    assert result.code == 0, result
    sizes = [line.split()[1] for line in result.out.splitlines() if line.rstrip().endswith("match")]
    assert len(set(sizes)) == 3
    assert all(size.startswith("3x") for size in sizes), "each row states the shape of its images"
    assert command("gan-export", "verify", folder / "Maps.onnx").code == 0
    assert command("gan-sample", folder / "Maps.onnx", "-n", 3, "-o", folder / "i.npy").code == 0
    assert np.load(folder / "i.npy").shape[::3] == (3, 3)
    assert "native needs the generator's layers" in refused(command("gan-export", "native", folder / "Maps.pth", *own))


def test_flags_that_do_not_go_together_are_one_line(command: Command, folder: Path) -> None:
    export = ("gan-export", "onnx", folder / "Plain.pth")
    own = ("--module", "mine_of_the_cli:Plain", "--pythonpath", folder / "code")
    assert "its keys are not those of the class" in refused(command(*export, *own, "--kwargs", json.dumps({"nz": 8})))
    assert "--kwargs is not JSON" in refused(command(*export, *own, "--kwargs", "nz=7"))
    assert "--kwargs is an object" in refused(command(*export, *own, "--kwargs", "[7]"))
    assert "--slope" in refused(command(*export, *own, "--slope", 0.1))
    assert "no such folder" in refused(command(*export, "--module", "a:B", "--pythonpath", folder / "none"))
    assert "goes with --module" in refused(command(*export, "--kwargs", json.dumps({"nz": 7})))
    assert "no such file" in refused(command(*export, *own, "--signature", folder / "none.toml"))
    (folder / "bad.toml").write_text("inputs = 3\noutputs = []\n")
    assert "inputs are a list of ports" in refused(command(*export, *own, "--signature", folder / "bad.toml"))


def test_strict_refuses_code_beside_the_weights_of_a_class(command: Command, folder: Path) -> None:
    state = torch.load(folder / "Plain.pth")
    torch.save({"netG": state, "x": Calls(os.system, ("touch ran",))}, folder / "named.pth")
    own = ("--module", "mine_of_the_cli:Plain", "--kwargs", json.dumps({"nz": 7}), "--pythonpath", folder / "code")
    for line in (
        ("onnx", folder / "named.pth", "-o", folder / "n.onnx"),
        ("verify", folder / "n.onnx", folder / "named.pth"),
    ):
        made = command("gan-export", *line, *own)
        assert made.code == 0, made
        assert "warning: named.pth names posix.system" in made.err
        assert "posix.system" in refused(command("gan-export", *line, *own, "--strict"))


@pytest.mark.parametrize(
    ("json_text", "toml_text", "why"),
    [
        ("[" * 100_000 + "]" * 100_000, "x = " + "[" * 5000 + "]" * 5000, "nested deeper than 64 levels"),
        ('{"nz":' * 70 + "1" + "}" * 70, "x = " + "{a = " * 70 + "1" + "}" * 70, "nested deeper than 64 levels"),
        ('{"nz": ' + "9" * 5000 + "}", "x = " + "9" * 5000, "digits"),
    ],
    ids=["parser's depth", "65 levels", "5,000 digits"],
)
def test_what_the_user_writes_is_bounded_as_files_are(
    command: Command, folder: Path, json_text: str, toml_text: str, why: str
) -> None:
    export = ("gan-export", "onnx", folder / "Plain.pth", "--module", "mine_of_the_cli:Plain")
    own = (*export, "--pythonpath", folder / "code")
    line = refused(command(*own, "--kwargs", json_text))
    assert "--kwargs is not JSON" in line
    assert why in line
    (folder / "odd.toml").write_text(toml_text)
    line = refused(command(*own, "--signature", folder / "odd.toml"))
    assert "odd.toml can't be read as TOML" in line
    assert why in line
