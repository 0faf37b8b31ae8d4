"""A message of the library names parameters as Python does; a command prints the same message with its flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import gan_export
from gan_export.cli import bench, export, sample, train
from gan_export.cli.flags import NAMES, OTHER, as_flags
from gan_export.errors import GanExportError
from tests.conftest import Command

REFUSALS: dict[str, tuple[Callable[[Path], object], str, tuple[str, ...], str]] = {
    "a value": (
        lambda f: gan_export.load(f, image_size=48), "image_size=48: ", ("gan-export", "--image-size", "48"),
        "--image-size 48: ",
    ),
    "a bound": (
        lambda f: gan_export.load(f, slope=7.0), "slope=7.0: must be 0 to 1", ("gan-export", "--slope", "7"),
        "--slope 7.0: must be 0 to 1",
    ),
    "an option without use": (
        lambda f: gan_export.load(f, upsample="nearest"), "upsample=: ", ("gan-export", "--upsample", "nearest"),
        "--upsample: ",
    ),
    "a switch": (
        lambda f: gan_export.load(f, raw=True), "raw=True: ", ("gan-export", "--raw"), "--raw: ",
    ),
    "a state dict": (
        lambda f: gan_export.load(f, key="ema"), "key=ema: ", ("gan-export", "--key", "ema"), "--key ema: ",
    ),
    "an option of the format": (
        lambda f: gan_export.export(f, "onnx", f.with_name("g.onnx"), fp16_io=True), "precision=fp16",
        ("gan-export", "--fp16-io"), "--precision fp16",
    ),
    "a target": (
        lambda f: gan_export.export(f, "onnx", f), "another with target=", ("gan-export", "-o", "g.pth"),
        "another with -o",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_the_library_names_parameters_and_the_command_flags(
    name: str, classic_pth: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse, parameter, (program, *flags), flag = REFUSALS[name]
    file = tmp_path / "g.pth"
    file.write_bytes(classic_pth.read_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GanExportError) as refused:
        refuse(file)
    assert parameter in str(refused.value)
    assert " --" not in f" {refused.value}"
    assert " -o" not in str(refused.value)
    printed = command(program, "onnx", file, *flags)
    assert printed.code == 2
    assert flag in printed.err
    assert parameter not in printed.err


def test_an_assumption_names_its_option(classic_pth: Path, command: Command) -> None:
    read = gan_export.load(classic_pth)
    assert "output=" in {a.option for a in read.reading.assumed}
    assert "(--output)" in " ".join(command("gan-export", "inspect", classic_pth).out.split())


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("leave labels= out", "leave --label out"),
        ("count=0: must be at least 1", "-n 0: must be at least 1"),
        ("another with target=, or use output='bytes'", "another with -o, or use --uint8"),
        ("output=tanh", "--output tanh"),
        ("psi= and psi_input=True: psi is", "--psi and --psi-input: psi is"),
        ("leave pad=False out", "leave --no-pad out"),
        ("name the folder, set data.path=DIR", "name the folder, --set data.path=DIR"),
        (
            "train.seed=3, a.slope=1, 'key=x', nothing=1, --key=x",
            "train.seed=3, a.slope=1, 'key=x', nothing=1, --key=x",
        ),
    ],
)
def test_parameters_become_flags(message: str, printed: str) -> None:
    assert as_flags(message) == printed


def _flags(command: Any) -> set[str]:
    own = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    return own.union(*map(_flags, getattr(command, "commands", {}).values()))


def test_every_parameter_is_a_flag_of_a_command() -> None:
    there = set[str]().union(*(_flags(typer.main.get_command(m.app)) for m in (bench, export, sample, train)))
    assert {f"--{name.replace('_', '-')}" for name in NAMES} <= there
    assert {flag.strip() for flag in OTHER.values()} <= there


def test_a_generator_names_parameters(classic_pth: Path) -> None:
    with gan_export.open(classic_pth) as generator:
        for wrong in (lambda: generator.sample(0), lambda: generator.apply(np.zeros((1, 4, 4, 3), np.uint8))):
            with pytest.raises(GanExportError) as refused:
                wrong()
            assert " --" not in str(refused.value)
