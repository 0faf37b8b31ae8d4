"""The HTTP service as it is run: uvicorn in a process of its own, many clients, wrong questions, a shutdown."""

from __future__ import annotations

import concurrent.futures
import contextlib
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_export import checkpoint, images
from gan_export.exporters import find
from gan_export.exporters.base import Options
from gan_export.exporters.native import encode
from gan_export.formats import references
from gan_export.formats.bounds import Tolerance
from gan_export.formats.manifest import Manifest
from gan_export.graph.spec import GeneratorSpec
from gan_export.runtimes.native import NATIVE, Model
from tests.conftest import latent_image
from tests.engine.conftest import random_weights, transposed
from tests.web.test_engine import conditional

SERVICE = Path(__file__).resolve().parents[2] / "embed" / "service"
pytestmark = pytest.mark.skipif(not NATIVE.availability().ok, reason="the C engine was not built")


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    address: str
    file: Path

    def ask(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Mapping[str, str], bytes]:
        try:
            request = urllib.request.Request(self.address + path, headers=dict(headers or {}))
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()

    def get(self, path: str) -> tuple[int, bytes]:
        status, _, body = self.ask(path)
        return status, body


def write(spec: GeneratorSpec, file: Path, seed: int = 0) -> Path:
    """A .gan file of random weights."""
    empty = references.pack(np.zeros((8, *latent_image(spec).image)))
    manifest = Manifest(
        "native", spec.arch, spec.signature, "float", "fp32", Tolerance(None, 1.0, 255), "0" * 64, {}, {}, empty
    )
    file.write_bytes(encode(spec, random_weights(spec, seed), manifest.to_json()))
    return file


@contextlib.contextmanager
def serving(file: Path) -> Iterator[Running]:
    pytest.importorskip("fastapi", reason="fastapi is not installed (pip install fastapi uvicorn)")
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (pip install fastapi uvicorn)")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "service.py", "--port", str(port), "--log-level", "warning"],
        cwd=SERVICE, env={**os.environ, "GENERATOR": str(file)},
    )  # fmt: skip
    running = Running(process, f"http://127.0.0.1:{port}", file)
    try:
        for _ in range(600):
            if process.poll() is not None:
                pytest.fail("the service ended at once")
            try:
                running.get("/health")
                break
            except OSError:
                time.sleep(0.1)
        yield running
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    with serving(write(transposed((24, 16), 1, 20), tmp_path / "g.gan")) as running:
        yield running


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


def test_a_copy_is_right_as_long_as_the_generator_and_the_request_are(service: Running, tmp_path: Path) -> None:
    path = "/image?seed=7&index=3"
    status, headers, body = service.ask(path)
    assert (status, headers["Cache-Control"]) == (200, "no-cache")
    assert headers["ETag"].startswith('W/"')
    known = {"If-None-Match": f'"another", {headers["ETag"]}'}
    for same in (path, "/image?index=3&seed=07"):
        status, again, nothing = service.ask(same, known)
        assert (status, again["ETag"], nothing) == (304, headers["ETag"], b"")
    for other in ("/image?seed=7&index=4", "/image?seed=8&index=3", "/grid?seed=7&start=3&count=1"):
        assert service.ask(other, known)[0] == 200
    spec = transposed((24, 16), 1, 20)
    with serving(write(spec, tmp_path / "other.gan", seed=1)) as another:
        status, _, fresh = another.ask(path, known)
    assert status == 200
    assert fresh != body


def test_labels_of_a_grid_of_several_batches(tmp_path: Path) -> None:
    file = write(conditional(), tmp_path / "l.gan")
    with Model(file) as model, serving(file) as service:
        for asked, label in (("", "random"), ("&label=3", 3)):
            want = images.grid(model.generate(7, 200, start=5, label=label))
            status, body = service.get(f"/grid?seed=7&start=5&count=200{asked}")
            assert status == 200
            assert close(pixels(body), want)
        status, body = service.get("/image?seed=7&label=5")
        assert (status, json.loads(body)["detail"]) == (422, "label 5: must be 0 to 4")


def test_any_copy_is_current(service: Running) -> None:
    tag = service.ask("/image?seed=7")[1]["ETag"]
    for condition in ("*", " * ", tag, tag.removeprefix("W/"), f'"x",{tag}'):
        assert service.ask("/image?seed=7", {"If-None-Match": condition})[0] == 304, condition
    for condition in ("", '"x"', tag[:-2] + '"', f"{tag}*"):
        assert service.ask("/image?seed=7", {"If-None-Match": condition})[0] == 200, condition
    assert service.ask("/image?seed=7&label=5", {"If-None-Match": "*"})[0] == 422  # there is none to have a copy of


@pytest.mark.parametrize("begun", [b"", b"GET /image?seed=7 HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["first", "later"])
def test_headers_that_dont_come_end_the_connection(service: Running, begun: bytes) -> None:
    """However often another byte of them does; a request that is complete has all the time that it needs."""
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as s:
        s.settimeout(0.5)
        s.sendall(begun + b"GET /image?seed=7 HTTP/1.1\r\n")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                s.sendall(b"X: y\r\n")
                if s.recv(1 << 20) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("the connection is still open after a minute")
    assert service.get("/health")[0] == 200


@pytest.mark.long
def test_a_file_that_draws_from_a_seed(classic_pth: Path, tmp_path: Path) -> None:
    read = checkpoint.read(classic_pth)
    find("onnx").write(read, tmp_path / "g.sampler.onnx", Options(sampler=True))
    find("native").write(read, tmp_path / "g.gan", Options())
    with Model(tmp_path / "g.gan") as model:
        want = model.generate(7, 100)
    with serving(tmp_path / "g.sampler.onnx") as service:
        assert close(pixels(service.get("/grid?seed=7&count=100")[1]), images.grid(want)[..., 0])
        paths = [f"/image?seed={7 if i % 2 else 2**63}&index={i}" for i in range(40)]
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(service.get, paths))
        for i, (status, body) in enumerate(answers):
            if i % 2:
                assert close(pixels(body), want[i, ..., 0])
            else:
                assert status == 422
                assert "2^63" in json.loads(body)["detail"]


@pytest.mark.long
def test_large_pictures_are_counted_by_their_pixels(tmp_path: Path) -> None:
    file = write(transposed((2,) * 8, 1, 4), tmp_path / "large.gan")
    with serving(file) as service:
        status, body = service.get("/grid?seed=7&count=17")
        assert (status, json.loads(body)["detail"]) == (422, "count 17: must be 1 to 16 for images of 1024 x 1024")
        status, body = service.get("/grid?seed=7")
        assert status == 200
        assert pixels(body).shape == (4 * 1026 + 2, 4 * 1026 + 2)
        with concurrent.futures.ThreadPoolExecutor(12) as pool:  # four grids are 2^26 pixels
            answers = [pool.submit(service.ask, f"/grid?seed=7&start={i}") for i in range(12)]
            found = [a.result() for a in answers]
        statuses = [status for status, _, _ in found]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 4
        assert all(headers["Retry-After"] == "1" for status, headers, _ in found if status == 503)
        with Model(file) as model:
            assert close(pixels(service.get("/image?seed=7&index=9")[1]), model.generate(7, 1, start=9)[0, ..., 0])


@pytest.mark.long
def test_a_file_that_is_no_generator_ends_it_with_a_line(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="fastapi is not installed (pip install fastapi uvicorn)")
    (tmp_path / "cut.gan").write_bytes(b"\x89GAN\r\n\x1a\n" + bytes(200))
    for name, message in (("", "GENERATOR=g.gan"), ("missing.gan", "no such file"), ("cut.gan", "cut.gan")):
        file = str(tmp_path / name) if name else ""
        done = subprocess.run(
            [sys.executable, "service.py", "--port", "0"],
            cwd=SERVICE, env={**os.environ, "GENERATOR": file}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert message in done.stderr
        assert "Traceback" not in done.stderr
