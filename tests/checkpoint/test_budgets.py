"""Every checkpoint of the suite is read with at most half of what its budget allows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gan_export._lib.budget import Budget
from gan_export.checkpoint import read
from gan_export.checkpoint.containers import detect
from gan_export.recognize import ReadOptions
from tests.conftest import ROOT
from tests.originals import ORIGINALS, Original

SHIPPED = sorted(p for folder in ("exported", "train/records") for p in (ROOT / folder).rglob("*.pth"))


class Told(Budget):
    """A budget that remembers whose it is."""

    __slots__ = ()
    made: list[Told] = []  # noqa: RUF012  of the test that is running

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.made.append(self)

    @property
    def share(self) -> tuple[float, float]:
        """Of the steps and of the bytes that were granted."""
        return self._spent / self._granted, (self._held + 100 * self._spent) / self._most_held


@pytest.fixture
def budgets(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Told]]:
    monkeypatch.setattr(detect, "Budget", Told)
    Told.made.clear()
    yield Told.made
    Told.made.clear()


def _leaves_half(path: Path, overrides: ReadOptions, budgets: list[Told]) -> None:
    read(path, overrides)
    (budget,) = budgets
    assert 0 < budget.share[0] < 0.5, (path.name, budget.share)
    assert 0 < budget.share[1] < 0.5, (path.name, budget.share)
    budgets.clear()
    path.unlink()


@pytest.mark.long
@pytest.mark.parametrize("original", ORIGINALS, ids=[o.name for o in ORIGINALS])
def test_the_originals(original: Original, tmp_path: Path, budgets: list[Told]) -> None:
    """As a file of their own scripts, and as a module saved whole."""
    model = original.model(original.width, seed=2)
    _leaves_half(original.save(model, tmp_path / f"generator{original.suffix}"), original.overrides, budgets)
    torch.save(model, tmp_path / "whole.pth")
    _leaves_half(tmp_path / "whole.pth", original.overrides, budgets)


@pytest.mark.parametrize("path", SHIPPED, ids=[p.relative_to(ROOT).as_posix() for p in SHIPPED])
def test_those_that_ship(path: Path, tmp_path: Path, budgets: list[Told]) -> None:
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    _leaves_half(copy, ReadOptions(), budgets)
