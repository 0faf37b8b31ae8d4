"""`gan-export web` of a generator that takes images: a file in, before and after under a slider, in a real Chromium."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from gan_export.sampling.apply import open_image_generator
from tests.conftest import Command, refused
from tests.originals.images_in import JunyanzResnet, Srvgg, randomized

from .test_page import FLAGS, chromium, needs_chromium, needs_engine, served, wait

pytestmark = [needs_chromium, needs_engine]
MODELS = {"upscaler": lambda: Srvgg(4, 1, 2), "translator": lambda: JunyanzResnet(8, 1, "instance")}
Bytes = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*FLAGS) as driver:
        driver.set_window_size(900, 900)
        yield driver


def site(name: str, folder: Path, command: Command) -> Path:
    torch.save(randomized(MODELS[name]()).state_dict(), folder / "g.pth")
    made = command("gan-export", "web", folder / "g.pth", "-o", folder / "site")
    assert made.code == 0, made.err
    return folder / "site"


def picture(height: int, width: int) -> Bytes:
    """Smooth, with edges."""
    y, x = np.mgrid[0:height, 0:width]
    inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 3) ** 2
    planes = [255 * y / height, 255 * x / width, 200 * inside]
    return np.dstack(planes).astype(np.uint8)


def canvas(browser: Any, name: str) -> Bytes:
    data = browser.execute_script(f"return document.getElementById('{name}').toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))) as image:
        return np.asarray(image.convert("RGB"))


def near(a: Bytes, b: Bytes) -> bool:
    return a.shape == b.shape and int(np.abs(a.astype(int) - b).max()) <= 1


@pytest.mark.parametrize("name", ["upscaler", pytest.param("translator", marks=pytest.mark.long)])
def test_an_image_goes_in_and_comes_out(name: str, browser: Any, command: Command, tmp_path: Path) -> None:
    folder = site(name, tmp_path, command)
    image = picture(151, 203)
    Image.fromarray(image).save(tmp_path / "photo.png")
    with open_image_generator(tmp_path / "g.pth") as generator:
        want = generator.make(image, 0).pixels
    with served(folder) as address:
        browser.get(address)
        wait(browser, "Ready")
        browser.find_element("id", "file").send_keys(str(tmp_path / "photo.png"))
        wait(browser, "Done in")
        np.testing.assert_array_equal(canvas(browser, "before"), image)
        assert near(canvas(browser, "after"), want)
        slider = browser.find_element("id", "slider")
        clip = "return getComputedStyle(document.getElementById('before')).clipPath"
        assert "50%" in browser.execute_script(clip)
        browser.execute_script("arguments[0].value = 20; arguments[0].dispatchEvent(new Event('input'))", slider)
        assert "80%" in browser.execute_script(clip)
        for width in (390, 900):
            shape = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
            most = (
                "return Math.max(...[...document.querySelectorAll('main *')].map(e => e.getBoundingClientRect().right))"
            )
            assert browser.execute_script(most) <= width
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert all(url.startswith((address, "data:", "blob:")) for url in loaded), loaded
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


DROP = """const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], arguments[1]));
    document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true}));"""


@pytest.mark.long
def test_a_large_image_is_dropped_and_goes_in_tiles(browser: Any, command: Command, tmp_path: Path) -> None:
    folder = site("upscaler", tmp_path, command)
    image = picture(600, 900)
    Image.fromarray(image).save(tmp_path / "photo.png")
    content = base64.b64encode((tmp_path / "photo.png").read_bytes()).decode()
    with open_image_generator(tmp_path / "g.pth") as generator:
        want = generator.make(image, 0).pixels
    with served(folder) as address:
        browser.get(address)
        wait(browser, "Ready")
        browser.execute_script(
            """window.texts = [];
            const status = document.getElementById('status');
            new MutationObserver(() => texts.push(status.textContent)).observe(status, {childList: true});
            document.getElementById('side').value = '0';"""
        )
        browser.execute_script(DROP, content, "photo.png")
        wait(browser, "Done in")
        texts = browser.execute_script("return texts")
        assert any("of 12 tiles" in text for text in texts), texts
        assert near(canvas(browser, "after"), want)
        browser.execute_script(DROP, base64.b64encode(b"no image").decode(), "notes.txt")
        assert "notes.txt can't be read as an image." in wait(browser, "notes")
        assert near(canvas(browser, "after"), want)
    browser.get_log("browser")


def test_onnxruntime_web_is_refused(command: Command, tmp_path: Path) -> None:
    torch.save(randomized(Srvgg(4, 1, 2)).state_dict(), tmp_path / "g.pth")
    runtime = tmp_path / "dist"
    runtime.mkdir()
    for name, loader in (("ort.wasm.min.mjs", "ort-wasm-simd"), ("ort.webgpu.min.mjs", "ort-wasm-jsep")):
        (runtime / name).write_text(f'import "./{loader}.mjs"')
        (runtime / f"{loader}.mjs").write_text("")
        (runtime / f"{loader}.wasm").write_text("")
    flags = ("-o", tmp_path / "site", "--onnxruntime-web", runtime)
    assert "runs on the engine only" in refused(command("gan-export", "web", tmp_path / "g.pth", *flags))
    assert not (tmp_path / "site").exists()
