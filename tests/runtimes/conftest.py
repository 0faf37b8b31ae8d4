"""A small generator on disk, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtimes.small import small_files


@pytest.fixture(scope="session")
def files() -> dict[str, Path]:
    """Return its files by format; "checkpoint" is the one that the others were made from."""
    return small_files()
