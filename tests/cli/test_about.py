"""gan-export list families, and gan-export doctor."""

from __future__ import annotations

import platform

import numpy as np

from gan_export import exporters
from gan_export.recognize.registry import ARCHS
from tests.conftest import Command, refused


def test_list_families_names_each_that_is_read(command: Command) -> None:
    result = command("gan-export", "list", "families")
    assert result.code == 0, result
    for family in ARCHS:
        assert f" {family.name} " in result.out, family.name
    assert result.out.splitlines()[-1] == "  gan-export inspect CHECKPOINT"


def test_list_refuses_other_words(command: Command) -> None:
    assert "must be formats or families" in refused(command("gan-export", "list", "pets"))
    assert "--markdown" in refused(command("gan-export", "list", "families", "--markdown"))


def test_doctor_tells_what_a_bug_report_needs(command: Command) -> None:
    result = command("gan-export", "doctor")
    assert result.code == 0, result
    for words in (platform.python_version(), np.__version__, "instructions", "C engine", "GPU"):
        assert words in result.out, words
    for exporter in exporters.EXPORTERS:
        assert f" {exporter.name} " in result.out, exporter.name
