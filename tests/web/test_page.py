"""`gan-export web`: the page in a real Chromium, at a phone's and a desk's width, light and dark."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_export import volumes, web
from gan_export.exporters.native import encode
from gan_export.graph.spec import GeneratorSpec
from gan_export.runtimes.native import NATIVE, Model
from tests.conftest import Command, refused
from tests.engine.conftest import random_weights, transposed
from tests.engine.test_styles import MAPPED, PORTED, weights_of

from .test_engine import close, conditional

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VOXEL = Path(__file__).parents[2] / "exported" / "voxel32" / "generator.gan"
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
)  # fmt: skip
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="Chromium is not installed (apt-get install chromium chromium-driver)"
)
needs_engine = pytest.mark.skipif(not NATIVE.availability().ok, reason="the C engine was not built")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in flags:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*FLAGS) as driver:
        yield driver


def wait(browser: Any, text: str) -> str:
    """The status line, once it says `text`."""
    from selenium.webdriver.support.ui import WebDriverWait

    def shows(b: Any) -> bool:
        return text in b.find_element("id", "status").text

    WebDriverWait(browser, 60).until(shows, f"the page never showed {text!r}")
    return str(browser.find_element("id", "status").text)


def controls(browser: Any) -> list[Any]:
    return list(browser.find_elements("css selector", "main button, main input, main select"))


def canvas(browser: Any, name: str) -> np.ndarray:
    """A canvas's own pixels, (H, W, RGBA)."""
    script = """const c = document.getElementById(arguments[0]);
        return [c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]];"""
    height, width, data = browser.execute_script(script, name)
    return np.array(data, np.uint8).reshape(height, width, 4)


def grid(browser: Any, columns: int, name: str = "grid") -> np.ndarray:
    """The square pictures of a canvas, (pictures, H, W, RGBA)."""
    pixels = canvas(browser, name)
    side = pixels.shape[1] // columns
    pixels = pixels.reshape(pixels.shape[0] // side, side, columns, side, 4)
    return pixels.transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 4)


@needs_chromium
@needs_engine
def test_the_page_draws_pythons_pictures_and_its_controls_work(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    spec = transposed((24, 16), 1, 20)
    path = tmp_path / "g.gan"
    path.write_bytes(encode(spec, random_weights(spec)))
    web.write_site(tmp_path / "site", lambda target: shutil.copyfile(path, target))
    with Model(path) as model, served(tmp_path / "site") as address:
        browser.get(address)
        assert "images/s" in wait(browser, "Images 0 to 63 of seed 7")
        # the first picture bears the mark of the chosen one
        assert close(grid(browser, 8)[1:, :, :, 0].ravel(), model.generate(7, 64)[1:])
        assert "WebAssembly engine, simd128" in browser.find_element("id", "backend").text
        assert all(control.is_enabled() for control in controls(browser))

        seed = browser.find_element("id", "seed")
        seed.clear()
        seed.send_keys(str(2**64 - 1), Keys.ENTER)
        wait(browser, f"of seed {2**64 - 1}")
        assert close(grid(browser, 8)[1:, :, :, 0].ravel(), model.generate(2**64 - 1, 64)[1:])
        browser.find_element("id", "more").click()
        wait(browser, "Images 64 to 127")
        assert close(grid(browser, 8)[1:, :, :, 0].ravel(), model.generate(2**64 - 1, 64, start=64)[1:])

        before = browser.execute_script("return document.getElementById('single').toDataURL()")
        browser.find_element("id", "grid").send_keys(Keys.ARROW_RIGHT)
        wait(browser, "Image 65")
        slider = browser.find_element("css selector", "#sliders input")
        slider.send_keys(Keys.HOME)
        assert slider.get_attribute("value") == "-3"
        assert browser.execute_script("return document.getElementById('single').toDataURL()") != before
        walk = browser.find_element("id", "walk")
        walk.click()
        assert walk.get_attribute("aria-pressed") == "true"
        walk.click()
        assert walk.get_attribute("aria-pressed") == "false"
        browser.find_element("id", "save").click()
        wait(browser, "Saved seed-")

        for wrong in ("-1", "seven", str(2**64)):
            seed.clear()
            seed.send_keys(wrong, Keys.ENTER)
            wait(browser, "0 to 2^64-1")
        asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert asked
        assert all(name.startswith((address, "data:", "blob:")) for name in asked), asked
        assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


@needs_chromium
@needs_engine
@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (360, "light"), (1440, "dark"),
        *(pytest.param(*both, marks=pytest.mark.long) for both in ((360, "dark"), (1440, "light"))),
    ],
)  # fmt: skip
def test_it_fits_and_says_what_everything_is(browser: Any, width: int, scheme: str, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    spec = conditional()
    web.write_site(tmp_path / "site", lambda target: target.write_bytes(encode(spec, random_weights(spec))))
    commands: list[tuple[str, dict[str, Any]]] = [
        (
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        ),
        ("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
    ]
    for name, arguments in commands:
        browser.execute_cdp_cmd(name, arguments)
    with served(tmp_path / "site") as address:
        browser.get(address)
        wait(browser, "images/s")
        labels = browser.find_elements("css selector", "#labels button")
        assert [b.text for b in labels] == ["random", "all", "0", "1", "2", "3", "4"]
        browser.find_element("id", "grid").send_keys(Keys.ARROW_RIGHT)
        wait(browser, "Image 1 of seed 7 is chosen")
        with Model(tmp_path / "site" / "generator.gan") as model:  # by its random label, as in the grid
            assert close(grid(browser, 1, "single")[0, :, :, :3].ravel(), model.generate(7, 1, start=1))
        labels[3].click()
        wait(browser, "label 1")
        assert labels[3].get_attribute("aria-pressed") == "true"
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        unnamed = """return [...document.querySelectorAll('button, input, select, canvas')].filter(e =>
            !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length"""
        assert browser.execute_script(unnamed) == 0
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
        shot = tmp_path / f"{width}-{scheme}.png"
        browser.save_screenshot(str(shot))
        assert shot.stat().st_size > 5000


@needs_chromium
@needs_engine
def test_a_walk_yields_to_what_the_user_does(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    spec = transposed((24, 16), 1, 20)
    web.write_site(tmp_path / "site", lambda target: target.write_bytes(encode(spec, random_weights(spec))))
    click = """const grid = document.getElementById('grid'), box = grid.getBoundingClientRect();
        const clientX = box.left + box.width * (arguments[0] + 0.5) / 8, clientY = box.top + box.height / 16;
        grid.dispatchEvent(new MouseEvent('click', {clientX, clientY, bubbles: true}));"""
    with Model(tmp_path / "site" / "generator.gan") as model, served(tmp_path / "site") as address:
        browser.get(address)
        wait(browser, "images/s")
        walk = browser.find_element("id", "walk")

        def stands_at(index: int) -> None:
            time.sleep(0.7)
            assert walk.get_attribute("aria-pressed") == "false"
            assert close(grid(browser, 1, "single")[0, :, :, 0].ravel(), model.generate(7, 1, start=index))

        walk.click()
        browser.execute_script(click, 5)
        stands_at(5)
        walk.click()
        browser.find_element("id", "more").click()
        wait(browser, "Images 64 to 127")
        stands_at(64 + 5)
        walk.click()
        slider = browser.find_element("css selector", "#sliders input")
        slider.send_keys(Keys.HOME)
        time.sleep(0.7)
        assert walk.get_attribute("aria-pressed") == "false"
        assert slider.get_attribute("value") == "-3"
        browser.find_element("id", "reset").click()
        stands_at(64 + 5)


@pytest.mark.long
@needs_chromium
@needs_engine
def test_styles_are_mixed_and_a_walk_between_them_is_paused(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    def put(spec: GeneratorSpec) -> Callable[[Path], object]:
        return lambda target: target.write_bytes(encode(spec, weights_of(spec, separable=True)))

    site = tmp_path / "site"
    web.write_site(site, put(PORTED), put_mapping=put(MAPPED))
    screen = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    psi = np.full((64, 1), 0.7, np.float32)

    def shown(name: str = "single") -> np.ndarray:
        return canvas(browser, name)[..., :3]

    with Model(site / "mapping.gan") as mapping, Model(site / "generator.gan") as synthesis, served(site) as address:

        def image(ws: np.ndarray, index: int) -> np.ndarray:
            return synthesis.generate(7, start=index, latents=ws.reshape(1, -1))[0]

        browser.get(address)
        wait(browser, "Images 0 to 63 of seed 7")
        for name, value in (("psi", "0.7"), ("first", "1"), ("last", "2"), ("mix-seed", "12")):
            script = """const e = document.getElementById(arguments[0]);
                e.value = arguments[1]; for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind));"""
            browser.execute_script(script, name, value)
        wait(browser, "Images 0 to 63 of seed 7, layers 1 to 2 from seed 12")
        own, other = (mapping.generate_floats(seed, 64, scalars=psi) for seed in (7, 12))
        own[:, 1:] = other[0, 1:]
        planes = [x for name, x in PORTED.signature.feeds(7, [0]).items() if name.startswith("noise")]
        noise = np.concatenate([x.reshape(1, -1) for x in planes], 1)
        assert close(shown("grid")[7:14, :6].ravel(), image(own[8], 8))  # the first one of the second row
        assert close(shown("source").ravel(), synthesis.generate(12, latents=other[:1].reshape(1, -1))[0])
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400

        walk = browser.find_element("id", "walk")
        walk.click()
        time.sleep(0.4)
        walk.click()
        assert walk.text == "Continue"
        time.sleep(0.3)
        there = shown()
        time.sleep(0.3)
        assert np.array_equal(shown(), there), "it goes on"
        way = [(1 - t) * a + t * b for a, b in pairwise(own) for t in np.linspace(0, 1, 200, dtype=np.float32)]
        drawn = synthesis.generate(latents=np.reshape(way, (len(way), -1)), noise=np.repeat(noise, len(way), 0))
        off = np.abs(drawn.astype(int) - there).max((1, 2, 3))
        assert off[1:].min() <= 2, "it isn't on the way between the images of the seed"
        walk.click()
        assert walk.text == "Pause"
        browser.find_element("id", "reset").click()
        time.sleep(0.5)
        assert walk.text == "Walk"
        assert close(shown().ravel(), image(own[0], 0))

        field = browser.find_element("id", "last")
        field.send_keys(Keys.BACKSPACE, "9", Keys.ENTER)
        wait(browser, "The layers must be whole numbers from 0 to 2")
        field.send_keys(Keys.BACKSPACE, "1", Keys.TAB)
        wait(browser, "layers 1 to 1 from seed 12")
        browser.find_element("id", "mix").click()
        assert "layers" not in wait(browser, "Images 0 to 63 of seed 7:")
        assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


@needs_chromium
@needs_engine
def test_what_is_asked_counts_once_it_is_drawn(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    spec = conditional()
    web.write_site(tmp_path / "site", lambda target: target.write_bytes(encode(spec, random_weights(spec))))
    with served(tmp_path / "site") as address:
        browser.get(address)
        wait(browser, "images/s")
        seed, more = browser.find_element("id", "seed"), browser.find_element("id", "more")
        chance, every, *_ = browser.find_elements("css selector", "#labels button")
        seed.clear()
        for refused_one in (more, every):
            refused_one.click()
            wait(browser, "0 to 2^64-1")
        assert [b.get_attribute("aria-pressed") for b in (chance, every)] == ["true", "false"]
        seed.send_keys("7")
        more.click()
        assert "label" not in wait(browser, "Images 64 to 127 of seed 7")
        browser.execute_script("for (const _ of [1, 2]) document.getElementById('more').click()")
        wait(browser, "Images 192 to 255 of seed 7")

        browser.execute_script(
            """window.shown = [];
            const status = document.getElementById('status');
            new MutationObserver(() => shown.push(status.textContent)).observe(status, {childList: true});
            document.getElementById('seed').value = '8';
            for (const id of ['draw', 'save']) document.getElementById(id).click();"""
        )

        def both(b: Any) -> list[str]:
            lines = b.execute_script("return shown")
            return lines if all(any(word in s for s in lines) for word in ("Saved", "of seed 8")) else []

        lines = WebDriverWait(browser, 60).until(both)
        assert [s for s in lines if "Saved" in s] == ["Saved seed-7.png"]
        seed.clear()
        seed.send_keys("9", Keys.ENTER)
        wait(browser, "Images 0 to 63 of seed 9")


@needs_chromium
@needs_engine
def test_a_label_of_many_is_typed(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    spec = conditional(120)
    web.write_site(tmp_path / "site", lambda target: target.write_bytes(encode(spec, random_weights(spec))))
    with Model(tmp_path / "site" / "generator.gan") as model, served(tmp_path / "site") as address:
        browser.get(address)
        wait(browser, "images/s")
        buttons = browser.find_elements("css selector", "#labels button")
        assert [b.text for b in buttons] == ["random", "all"]
        assert "0 to 119" in browser.find_element("id", "labels").text
        field = browser.find_element("id", "label")
        field.send_keys("119", Keys.ENTER)
        wait(browser, "label 119")
        assert close(grid(browser, 8)[1:, :, :, :3].ravel(), model.generate(7, 64, label=119)[1:])
        assert [b.get_attribute("aria-pressed") for b in buttons] == ["false", "false"]
        field.send_keys("9", Keys.TAB)
        wait(browser, "The label must be a whole number from 0 to 119.")
        buttons[1].click()
        wait(browser, "label all")
        assert field.get_attribute("value") == ""


@needs_chromium
@needs_engine
def test_a_damaged_generator_is_said_on_the_page(browser: Any, tmp_path: Path) -> None:
    web.write_site(tmp_path / "site", lambda target: target.write_bytes(b"no generator at all"))
    with served(tmp_path / "site") as address:
        browser.get(address)
        wait(browser, "not a .gan file")
        assert not any(control.is_enabled() for control in controls(browser))


@needs_chromium
@needs_engine
def test_a_site_without_its_list_is_said_on_the_page(browser: Any, tmp_path: Path) -> None:
    spec = conditional()
    web.write_site(tmp_path / "site", lambda target: target.write_bytes(encode(spec, random_weights(spec))))
    (tmp_path / "site" / "site.json").unlink()
    with served(tmp_path / "site") as address:
        browser.get(address)
        wait(browser, "site.json: the server answered 404")
        assert not any(control.is_enabled() for control in controls(browser))
    browser.get_log("browser")


@needs_engine
def test_the_command(command: Command, classic_pth: Path, tmp_path: Path) -> None:
    done = command("gan-export", "web", classic_pth, "-o", tmp_path / "site")
    assert done.code == 0
    assert "http.server" in done.out
    names = {p.name for p in (tmp_path / "site").iterdir()}
    assert {*web.MODULE, *web.ENGINES, *web.PAGE, "generator.gan", "site.json"} <= names
    assert "already exists" in refused(command("gan-export", "web", classic_pth, "-o", tmp_path / "site"))
    again = command("gan-export", "web", tmp_path / "site" / "generator.gan", "-o", tmp_path / "second")
    assert again.code == 0
    junk = tmp_path / "junk.pth"
    junk.write_bytes(b"junk")
    refuse: Callable[..., str] = lambda *a: refused(command("gan-export", "web", *a))  # noqa: E731
    assert "junk.pth" in refuse(junk, "-o", tmp_path / "third")
    fixed = refuse(tmp_path / "site" / "generator.gan", "-o", tmp_path / "third", "--precision", "fp16")
    assert "fixed" in fixed
    assert "npm install onnxruntime-web" in refuse(classic_pth, "-o", tmp_path / "third", "--onnxruntime-web", tmp_path)
    assert not (tmp_path / "third").exists()


@needs_chromium
@needs_engine
def test_a_volume_turns(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    web.write_site(tmp_path / "site", lambda target: shutil.copyfile(VOXEL, target))
    with Model(VOXEL) as model:
        made = model.generate(7, 16)[..., 0]
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 1400, "deviceScaleFactor": 1, "mobile": False}
    )
    reduced = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", reduced)

    def single() -> np.ndarray:
        """The canvas of one volume after its next frames, (H, W, RGBA)."""
        browser.execute_async_script("const done = arguments[0]; const two = () => requestAnimationFrame(done); "
                                     "requestAnimationFrame(two)")  # fmt: skip
        script = """const c = document.getElementById('single');
            return [c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]];"""
        width, data = browser.execute_script(script)
        return np.array(data, np.uint8).reshape(-1, width, 4)

    with served(tmp_path / "site") as address:
        browser.get(address)
        wait(browser, "Volumes 0 to 15 of seed 7")
        assert "32 × 32 × 32, 1 channel, from 64" in browser.find_element("id", "about").text
        cells = grid(browser, 4)
        for i in (1, 15):  # Python's surfaces, in blue
            want = volumes.shaded(made[i].astype(np.float32) / 255, 0.5, cells.shape[1])
            assert (np.abs(cells[i, :, :, 2].astype(int) - want) > 8).mean() < 0.01
            assert ((cells[i, :, :, 3] > 0) != (want > 0)).mean() < 0.005
        still = single()
        assert np.array_equal(single(), still)  # it doesn't spin: the user prefers reduced motion
        canvas, spin, slices, level = (
            browser.find_element("id", name) for name in ("single", "spin", "slices", "level")
        )
        ActionChains(browser).drag_and_drop_by_offset(canvas, 60, 0).perform()
        turned = single()
        assert not np.array_equal(turned, still)
        canvas.send_keys(Keys.ARROW_UP)
        assert not np.array_equal(single(), turned)
        turned = single()
        level.send_keys(Keys.HOME)
        assert (single()[..., 3] > 0).sum() > (turned[..., 3] > 0).sum()  # more of the volume is above it
        assert (grid(browser, 4)[1:, :, :, 3] > 0).sum() > (cells[1:, :, :, 3] > 0).sum()
        turned = single()
        spin.click()
        assert not np.array_equal(single(), turned)
        slices.click()
        cut = single()
        side = cut.shape[0]
        at = np.arange(side) * 32 // side
        assert np.array_equal(cut[:, :side, 0], made[0, 16][np.ix_(at, at)])
        assert np.array_equal(cut[:, side + 1 : 2 * side + 1, 0], made[0, :, 16][np.ix_(at, at)])
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
        assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []

        script = """const done = arguments[0];
            import('./gan.js').then(({ Pictures }) => {
              const info = {depth: 1, height: 1, width: 2, channels: 2};
              const made = new Pictures(new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]), 2, info);
              done([...made.toVolume(1, 1).data]);
            });"""
        assert browser.execute_async_script(script) == [6, 8]


def test_a_page_of_volumes_runs_on_the_engine_only(command: Command, tmp_path: Path) -> None:
    for name in ("ort.wasm.min.mjs", "ort.webgpu.min.mjs"):
        (tmp_path / name).write_text("ort-wasm.mjs", encoding="utf-8")
    (tmp_path / "ort-wasm.mjs").touch()
    (tmp_path / "ort-wasm.wasm").touch()
    flags = ("-o", tmp_path / "site", "--onnxruntime-web", tmp_path)
    result = command("gan-export", "web", VOXEL.with_suffix(".pth"), *flags)
    assert "the page of a generator of volumes runs on the engine only" in refused(result)
    assert not (tmp_path / "site").exists()
