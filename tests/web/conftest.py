"""onnxruntime-web, as npm gives it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder node_modules with onnxruntime-web in it."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed (apt-get install npm)")
    folder = tmp_path_factory.mktemp("npm")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "onnxruntime-web@^1.30"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if installed.returncode:
        pytest.skip(f"onnxruntime-web can't be installed: {os.fsdecode(installed.stderr[-200:])}")
    return folder / "node_modules"
