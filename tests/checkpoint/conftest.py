"""Load, before any test, what a reading imports late: `guard.nothing_runs` refuses imports."""

from __future__ import annotations

import pytest

from gan_export.checkpoint import read

from .makers import generator, prefixed, saved


@pytest.fixture(scope="session", autouse=True)
def _late_imports(tmp_path_factory: pytest.TempPathFactory) -> None:
    read(saved(tmp_path_factory.mktemp("harmless") / "g.pth", {"netG": prefixed(generator().state_dict())}))
