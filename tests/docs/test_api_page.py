"""docs/api.md: its programs of ten lines do what the page says, from a checkpoint to ONNX and to a service."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gan_export
from tests.conftest import ROOT, Artifacts


def program(heading: str) -> str:
    """The block of code under a heading, which has at most ten lines of code."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    found = re.search(rf"(?ms)^## {heading}$.*?^```python\n(.*?)^```", page)
    assert found is not None
    assert sum(bool(line.strip()) for line in found[1].splitlines()) <= 10
    return found[1]


async def get(app: Any, path: str, query: str) -> tuple[int, bytes]:
    """The status and body of a GET, through the application's ASGI interface."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [], "http_version": "1.1", "scheme": "http", "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


@pytest.mark.long
def test_from_a_checkpoint_to_onnx(tmp_path: Path, classic_pth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(classic_pth, tmp_path / "g.pth")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program("From a checkpoint to ONNX"), names)
    assert np.array_equal(names["pixels"], gan_export.sample("g.onnx", 64, seed=7))
    assert names["grid"].shape == (256, 256)
    assert np.array_equal(names["grid"][32:64, 64:96], names["pixels"][10, :, :, 0])


def test_a_service(tmp_path: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="fastapi is not installed: pip install '.[service]'")
    shutil.copy(artifacts["native"], tmp_path / "g.gan")
    monkeypatch.chdir(tmp_path)
    source = program("A service of ten lines")
    names: dict[str, Any] = {"__name__": "service"}
    exec(compile(source, "service.py", "exec"), names)
    status, body = asyncio.run(get(names["app"], "/image", "seed=7&index=3"))
    assert status == 200
    made = np.asarray(Image.open(io.BytesIO(body)))
    assert np.array_equal(made, gan_export.sample("g.gan", 1, seed=7, start=3)[0, :, :, 0])
    assert asyncio.run(get(names["app"], "/image", "seed=x"))[0] == 422
    names["generator"].close()
