"""One small generator on disk, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtimes.small import small_files


@pytest.fixture(scope="session")
def files() -> dict[str, Path]:
    """The format's name -> a file of it; "checkpoint" is what the others were made from."""
    return small_files()
