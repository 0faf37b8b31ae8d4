"""Test a dataset on an S3 server: moto's, over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gan_export.datasets.store import Folder
from tests.conftest import Command, refused
from tests.datasets.conftest import COUNT, SEED

pytestmark = pytest.mark.long
ARGUMENTS = ("-n", COUNT, "--seed", SEED, "--workers", 1, "--shard-size", 20, "--format")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """Yield the URL of an empty bucket; the library finds the server by the variables that every S3 client reads."""
    pytest.importorskip("moto")
    s3fs = pytest.importorskip("s3fs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        deadline = time.monotonic() + 120
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        s3fs.S3FileSystem().mkdir("s3://pictures")
        yield "s3://pictures"
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.kill()
        server.wait()


@pytest.mark.parametrize("format", ["npy", "png", "webdataset"])
def test_the_same_bytes_as_in_a_folder(command: Command, gan: Path, bucket: str, tmp_path: Path, format: str) -> None:
    import s3fs

    url = f"{bucket}/{format}"
    for part in ("1/2", "2/2"):
        result = command("gan-sample", "dataset", gan, *ARGUMENTS, format, "--part", part, "-o", url)
        assert result.code == 0, result
    assert command("gan-sample", "dataset", gan, *ARGUMENTS, format, "-o", tmp_path / "d").code == 0
    s3 = s3fs.S3FileSystem(use_listings_cache=False)
    s3.get(f"{url}/", str(tmp_path / "copy"), recursive=True)
    here, there = (
        {str(p.relative_to(tmp_path / name)): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("d", "copy")
    )
    assert here == there
    assert Folder(tmp_path / "copy").read("MANIFEST.json") is not None
    checked = command("gan-sample", "check", url, "-g", gan)
    assert checked.code == 0, checked
    assert "generated again: identical" in checked.out


def test_damage_is_named_and_mended(command: Command, gan: Path, bucket: str, wanted: np.ndarray) -> None:
    import s3fs

    url = f"{bucket}/mended"
    assert command("gan-sample", "dataset", gan, *ARGUMENTS, "npy", "-o", url).code == 0
    s3 = s3fs.S3FileSystem(use_listings_cache=False)
    s3.rm(f"{url}/images-00002.npy")
    result = command("gan-sample", "check", url)
    assert result.code == 1
    assert "images-00002.npy is missing" in result.out
    assert command("gan-sample", "dataset", gan, *ARGUMENTS, "npy", "-o", url).code == 0
    with s3.open(f"{url}/images-00002.npy") as f:
        assert np.array_equal(np.load(f), wanted[40:60])


def test_bad_input_is_one_line(command: Command, gan: Path, bucket: str) -> None:
    assert "written in place" in refused(
        command("gan-sample", "dataset", gan, "--format", "raw", "-o", f"{bucket}/raw")
    )
    assert "gan-sample dataset" in refused(command("gan-sample", gan, "-o", f"{bucket}/x"))
    assert "nothing://" in refused(command("gan-sample", "dataset", gan, "--format", "npy", "-o", "nothing://x"))
    assert "s3://missing" in refused(command("gan-sample", "dataset", gan, "--format", "npy", "-o", "s3://missing/x"))


def test_a_file_system_with_folders_has_them_made(command: Command, gan: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    for format in ("npy", "png"):
        url = f"file://{tmp_path}/deep/{format}"
        result = command("gan-sample", "dataset", gan, *ARGUMENTS, format, "-o", url)
        assert result.code == 0, result
        assert command("gan-sample", "check", url, "-g", gan).code == 0
