"""gan.js over onnxruntime-web in a real Chromium: the pictures of gan-sample, in WebAssembly and in WebGPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_export import web
from tests.conftest import Command

from .test_engine import close
from .test_page import FLAGS, chromium, needs_chromium, served

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {"plain": ROOT / "exported" / "mnist32", "labelled": ROOT / "exported" / "mnist32-conditional"}
REQUESTS = {
    "plain": ("seed: 2n**64n - 1n, start: 3n", ("--seed", 2**64 - 1, "--start", 3)),
    "labelled": ("seed: 7n, start: 2n**40n, label: 'all'", ("--seed", 7, "--start", 2**40, "--label", "all")),
}
pytestmark = [
    pytest.mark.long,
    needs_chromium,
    pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed (apt-get install npm)"),
]
ADAPTER = "return (async () => !!(await navigator.gpu?.requestAdapter()))();"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of gan.js, the shipped ONNX files and onnxruntime-web."""
    folder = tmp_path_factory.mktemp("ort")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "onnxruntime-web@^1.30"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if installed.returncode:
        pytest.skip(f"onnxruntime-web can't be installed: {os.fsdecode(installed.stderr[-200:])}")
    for name in web.MODULE:
        shutil.copyfile(ROOT / "gan_export" / "web" / name, folder / name)
    for name, shipped in SHIPPED.items():
        shutil.copyfile(shipped / "generator.onnx", folder / f"{name}.onnx")
    whole = (folder / "plain.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "junk.onnx").write_bytes(b"junk")
    (folder / "index.html").write_text("<!doctype html><title>t</title><link rel=icon href=data:,>")
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def page(site: str) -> Iterator[Any]:
    flags = [flag for flag in FLAGS if flag != "--disable-gpu"]
    with chromium(*flags, "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader") as driver:
        driver.get(site)
        yield driver


def run(page: Any, body: str) -> Any:
    """What the body returns, or the error's message."""
    script = (
        "const done = arguments[0]; (async () => {" + body + "})().then(done, e => done(`${e.name}: ${e.message}`))"
    )
    return page.execute_async_script(script)


def opened(name: str, providers: str) -> str:
    build = "webgpu" if "webgpu" in providers else "wasm"
    return f"""const ort = await import('/node_modules/onnxruntime-web/dist/ort.{build}.min.mjs');
        Object.assign(ort.env.wasm, {{numThreads: 1, wasmPaths: '/node_modules/onnxruntime-web/dist/'}});
        const {{open}} = await import('/gan.js');
        const generator = await open('/{name}.onnx', {{ort, providers: {providers}}});"""


@pytest.mark.parametrize("provider", ["wasm", "webgpu"])
@pytest.mark.parametrize("name", SHIPPED)
def test_pictures_are_gan_samples(page: Any, name: str, provider: str, command: Command, tmp_path: Path) -> None:
    if provider == "webgpu" and not page.execute_script(ADAPTER):
        pytest.skip("this Chromium has no WebGPU adapter")
    request, arguments = REQUESTS[name]
    got = run(
        page,
        opened(name, f"['{provider}']")
        + f"""const request = {{{request}, count: 70}};
        const [pictures, again] = await Promise.all([generator.generate(request), generator.generate(request)]);
        if (again.data.some((x, i) => x !== pictures.data[i])) throw new Error('overlapping calls differ');
        const given = await generator.generate({{latents: generator.latents({{seed: 7n, count: 2}})}});
        const {{latentSize, channels, height, width}} = generator.info, backend = generator.backend;
        generator.close();
        const size = [height, width, channels], data = [...pictures.data];
        return {{data, size, latentSize, backend, given: given.data.length}};""",
    )
    assert isinstance(got, dict), got
    assert got["backend"].startswith("ONNX Runtime 1.")
    assert got["backend"].endswith(provider)
    assert (got["latentSize"], got["size"], got["given"]) == (100, [32, 32, 1], 2 * 1024)
    out = tmp_path / "want.npy"
    command("gan-sample", SHIPPED[name] / "generator.onnx", "-n", 70, *arguments, "-o", out)
    assert close(np.array(got["data"], np.uint8), np.load(out))
    assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize(
    ("name", "said"), [("cut", "cut short"), ("junk", "no ONNX file"), ("absent", "the server says 404")]
)
def test_what_is_no_generator_is_refused(page: Any, name: str, said: str) -> None:
    assert said in run(page, opened(name, "['wasm']"))
    page.get_log("browser")


def test_what_cant_be_asked_is_refused(page: Any) -> None:
    assert "no provider runs this file" in run(page, opened("plain", "['nonsense']"))
    for request, said in (
        ("{count: 0}", "RangeError: count 0"),
        ("{seed: -1n}", "RangeError: seed"),
        ("{label: 3}", "label"),
    ):
        assert said in run(page, opened("plain", "['wasm']") + f"return await generator.generate({request});")
    page.get_log("browser")
