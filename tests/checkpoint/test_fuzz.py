"""Mutated checkpoints end in a checkpoint or a GanExportError; nothing is run, written or imported."""

from __future__ import annotations

import pytest

from . import fuzz


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1000), pytest.param(1000, 5_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_mutants(first: int, count: int) -> None:
    counts = fuzz.run(first, count)
    print(fuzz.table(counts))
    assert sum(counts.values()) == count
    assert not [(what, how) for what, how in counts if how.startswith("FAILED")]
    assert {how for _, how in counts} >= {"read", "GanExportError", "NotRecognizedError"}
