"""The HTTP service as it is run: uvicorn in a process of its own, many clients, wrong questions, a shutdown."""

from __future__ import annotations

import concurrent.futures
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_export import images
from gan_export.export.native import encode
from gan_export.runtimes.native import NATIVE, Model
from tests.native.conftest import random_weights, transposed

SERVICE = Path(__file__).resolve().parents[2] / "embed" / "service"
pytestmark = pytest.mark.skipif(not NATIVE.availability().ok, reason="the C engine was not built")


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    address: str
    file: Path

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.address + path, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    pytest.importorskip("fastapi", reason="fastapi is not installed (pip install fastapi uvicorn)")
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (pip install fastapi uvicorn)")
    spec = transposed((24, 16), 1, 20)
    file = tmp_path / "g.gan"
    from gan_export import artifact
    from gan_export.artifact import Facts, Manifest, Tolerance

    facts = Facts("test", 20, "normal", 0, spec.image, (-1.0, 1.0))
    empty = artifact.pack_references(np.zeros((8, *spec.image)))
    manifest = Manifest("native", facts, "float", "fp32", Tolerance(None, 1.0, 255), "", {}, {}, empty)
    file.write_bytes(encode(spec, random_weights(spec), manifest.to_json()))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--log-level", "warning"],
        cwd=SERVICE, env={**os.environ, "GENERATOR": str(file)},
    )  # fmt: skip
    running = Running(process, f"http://127.0.0.1:{port}", file)
    for _ in range(600):
        if process.poll() is not None:
            pytest.fail("the service ended at once")
        try:
            running.get("/health")
            break
        except OSError:
            time.sleep(0.1)
    yield running
    process.terminate()
    process.wait(60)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def close(got: np.ndarray, want: np.ndarray) -> bool:
    return got.shape == want.shape and int(np.abs(got.astype(int) - want).max()) <= 1


def test_the_service(service: Running) -> None:
    with Model(service.file) as model:
        want = model.generate(7, 200)[..., 0]
        wide = model.generate(2**64 - 1, 1, start=2**64 - 1)[0, ..., 0]
    status, body = service.get("/health")
    assert status == 200
    assert json.loads(body)["status"] == "ok"
    # two hundred clients at once, each its own picture
    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda i: service.get(f"/image?seed=7&index={i}"), range(200)))
    for i, (status, body) in enumerate(answers):
        assert status == 200
        assert close(pixels(body), want[i])
    assert close(pixels(service.get(f"/image?seed={2**64 - 1}&index={2**64 - 1}")[1]), wide)
    assert close(pixels(service.get("/grid?seed=7&count=9")[1]), images.grid(want[:9, ..., None])[..., 0])
    wrong = (
        "/image", "/image?seed=-1", "/image?seed=x", f"/image?seed={2**64}", "/image?seed=1&label=2",
        "/grid?seed=7&count=0", "/grid?seed=7&count=257", f"/grid?seed=7&start={2**64 - 1}&count=2",
        "/nothing", "/image?seed=" + "9" * 5000,
    )  # fmt: skip
    for path in wrong:
        status, body = service.get(path)
        assert 400 <= status < 500, path
        assert json.loads(body)["detail"]
    # clients that ask and never read or never finish don't hold the others up
    host, port = service.address.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(20)]
    for s in slow:
        s.sendall(b"GET /grid?seed=7&count=64 HTTP/1.1\r\nHost: x")
    assert service.get("/image?seed=7&index=5")[0] == 200
    for s in slow:
        s.close()
    # what has begun when the end is asked for is answered
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(service.get, "/grid?seed=7&count=144") for _ in range(4)]
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        assert [a.result()[0] for a in asked] == [200] * 4
    assert service.process.wait(60) is not None


def test_a_file_that_is_no_generator_ends_it_with_a_line(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="fastapi is not installed (pip install fastapi uvicorn)")
    (tmp_path / "cut.gan").write_bytes(b"\x89GAN\r\n\x1a\n" + bytes(200))
    for name, said in (("", "GENERATOR=g.gan"), ("missing.gan", "no such file"), ("cut.gan", "cut.gan")):
        file = str(tmp_path / name) if name else ""
        done = subprocess.run(
            [sys.executable, "-m", "uvicorn", "service:app", "--port", "0"],
            cwd=SERVICE, env={**os.environ, "GENERATOR": file}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert said in done.stderr
        assert "Traceback" not in done.stderr
