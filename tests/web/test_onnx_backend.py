"""gan.js over onnxruntime-web in a real Chromium: the pictures of gan-sample, in WebAssembly and in WebGPU."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_export import web
from tests.conftest import Command

from .test_engine import close
from .test_page import FLAGS, chromium, grid, needs_chromium, needs_engine, served, wait

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {"plain": ROOT / "exported" / "mnist32", "labeled": ROOT / "exported" / "mnist32-conditional"}
REQUESTS = {
    "plain": ("seed: 2n**64n - 1n, start: 3n", ("--seed", 2**64 - 1, "--start", 3)),
    "labeled": ("seed: 7n, start: 2n**40n, label: 'all'", ("--seed", 7, "--start", 2**40, "--label", "all")),
}
pytestmark = [
    pytest.mark.long,
    needs_chromium,
]
ADAPTER = "return (async () => !!(await navigator.gpu?.requestAdapter()))();"


@pytest.fixture(scope="module")
def site(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of gan.js, the shipped ONNX files and onnxruntime-web."""
    folder = tmp_path_factory.mktemp("ort")
    (folder / "node_modules").symlink_to(node_modules)
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
    ("name", "message"), [("cut", "cut short"), ("junk", "not an ONNX file"), ("absent", "the server answered 404")]
)
def test_what_is_no_generator_is_refused(page: Any, name: str, message: str) -> None:
    assert message in run(page, opened(name, "['wasm']"))
    page.get_log("browser")


def test_what_cant_be_asked_is_refused(page: Any) -> None:
    assert "no provider runs this file" in run(page, opened("plain", "['nonsense']"))
    for request, message in (
        ("{count: 0}", "RangeError: count 0"),
        ("{seed: -1n}", "RangeError: seed"),
        ("{label: 3}", "label"),
    ):
        assert message in run(page, opened("plain", "['wasm']") + f"return await generator.generate({request});")
    page.get_log("browser")


@needs_engine
def test_the_page_with_both_backends(
    page: Any, node_modules: Path, classic_pth: Path, command: Command, tmp_path: Path
) -> None:
    from selenium.webdriver.support.ui import Select

    made = command("gan-export", "web", classic_pth, "-o", tmp_path / "site", "--onnxruntime-web", node_modules)
    assert made.code == 0, made.err
    out = tmp_path / "want.npy"
    command("gan-sample", classic_pth, "-n", 64, "--seed", 7, "-o", out)
    want = np.load(out)[1:, :, :, 0].ravel()  # the first picture bears the mark of the chosen one
    with served(tmp_path / "site") as address:
        page.get(address)
        wait(page, "images/s")
        choice = Select(page.find_element("id", "choice"))
        asked = {"engine": "WebAssembly engine", "wasm": "ONNX Runtime 1.", "webgpu": "ONNX Runtime 1."}
        offered = [option.get_attribute("value") for option in choice.options]
        assert offered == list(asked)[: 2 + page.execute_script("return !!navigator.gpu")]
        if not page.execute_script(ADAPTER):
            offered = offered[:2]
        for name in (*offered[1:], "engine"):
            choice.select_by_value(name)
            wait(page, "images/s")
            message = page.find_element("id", "backend").text
            assert asked[name] in message
            assert name == "engine" or message.endswith(name)
            assert close(grid(page, 8)[1:, :, :, 0].ravel(), want)
        (tmp_path / "site" / "generator.onnx").write_bytes(b"junk")
        page.get(address)
        wait(page, "images/s")
        Select(page.find_element("id", "choice")).select_by_value("wasm")
        assert "not an ONNX file" in wait(page, "ONNX")
        assert page.find_element("id", "choice").get_attribute("value") == "engine"
        page.find_element("id", "more").click()
        wait(page, "Images 64 to 127")  # the engine goes on
        loaded = page.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert all(url.startswith((address, "data:", "blob:")) for url in loaded), loaded
    assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
