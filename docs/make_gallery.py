"""Make the images in docs/gallery: from the generators that ship, from the pages of Start, and from kept records.

    python docs/make_gallery.py             all; needs matplotlib, and selenium with Chromium for the pages
    python docs/make_gallery.py walk speed  some, by the names in MAKERS

The pages of Start are run as they stand; their images are the ones that they made.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence
from selenium import webdriver
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

import gan_export
from gan_export import volumes
from gan_export.bench import report, summary

ROOT = Path(__file__).resolve().parents[1]
GALLERY = ROOT / "docs" / "gallery"
DIGITS = ROOT / "exported" / "mnist32" / "generator.pth"
LABELS = ROOT / "exported" / "mnist32-conditional" / "generator.pth"
SOLIDS = ROOT / "exported" / "voxel32" / "generator.gan"
sys.path.insert(0, str(ROOT / "tools"))

import page_blocks  # noqa: E402 - beside the hooks of the site


def start(name: str, folder: Path) -> None:
    """Run a page of Start, and keep its grid, or its input beside its output."""
    page = ROOT / "docs" / "start" / f"{name}.md"
    for line in page_blocks.run(page.read_text(encoding="utf-8"), folder):
        print(f"{page.name}: skipped: {line}")
    target = GALLERY / f"start-{name}.png"
    if (folder / "grid.png").exists():
        _save(Image.open(folder / "grid.png"), target)
        return
    made = next(folder / one for one in ("painted.png", "large.png") if (folder / one).exists())
    before, after = Image.open(folder / "photo.png").convert("RGB"), Image.open(made).convert("RGB")
    height = max(before.height, after.height)
    both = Image.new("RGB", (before.width + 8 + after.width, height), "white")
    both.paste(before, (0, (height - before.height) // 2))
    both.paste(after, (before.width + 8, 0))
    _save(both, target)


def walk(folder: Path) -> None:
    """Write a walk of the digits, and one through the ten labels."""
    for name, file, flags in (("walk", DIGITS, ("--keypoints", "6")), ("walk-labels", LABELS, ("--label", "all"))):
        made = folder / f"{name}.gif"
        common = ("-n", "10") if name == "walk-labels" else ("-n", "8")
        _gan("gan-sample", "interpolate", file, "-o", made, "--seed", "7", *common, *flags)
        _animation(made, GALLERY / made.name)


def styles(folder: Path) -> None:
    """Write a sheet of style mixing, rows and columns named by their own images, and a sheet of truncation."""
    network = folder / "network.pkl"
    subprocess.run([sys.executable, ROOT / "docs" / "start" / "example_file.py", network.name], check=True, cwd=folder)
    rows, columns = (85, 100, 75, 458), (55, 821, 1789, 293, 64)
    white = np.full((1, 64, 64, 3), 255, np.uint8)
    with gan_export.open(str(network)) as generator:

        def image(seed: int, **flags: str) -> np.ndarray:
            return generator.sample(1, seed=seed, psi=0.7, **flags)

        table = [[white, *(image(seed) for seed in columns)]]
        table += [[image(row), *(image(row, mix=f"4-9:{column}") for column in columns)] for row in rows]
        sheet = np.concatenate([np.concatenate([one[0] for one in line], 1) for line in table])
    _save(Image.fromarray(sheet), GALLERY / "style-mixing.png")
    _gan("gan-sample", network, "--psi", "0,0.25,0.5,0.75,1,1.25", "-n", 3, "--seed", 7, "-o", folder / "sweep.png")
    _save(Image.open(folder / "sweep.png").convert("RGB"), GALLERY / "truncation.png")


def turning(folder: Path) -> None:
    """Write solids of each label, which turn once around."""
    with gan_export.open(str(SOLIDS)) as generator:
        made = generator.values(10, seed=7, labels="all")[:, 0]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for i in range(32) for value in (i * 8,) * 3])
    frames = []
    for azimuth in range(0, 360, 12):
        views = np.stack([volumes.shaded(one, 0.5, 96, azimuth)[..., None] for one in made])
        frames.append(Image.fromarray(_grid(views, 5)).convert("RGB").quantize(palette=palette, dither=0))
    frames[0].save(GALLERY / "turning.gif", save_all=True, append_images=frames[1:], duration=80, loop=0, optimize=True)


def readings(folder: Path) -> None:
    """Write the digits under each reading of their checkpoint."""
    _gan("gan-export", "inspect", DIGITS, "-o", folder / "readings.png")
    _save(Image.open(folder / "readings.png"), GALLERY / "readings.png")


def verify(folder: Path) -> None:
    """Write digits of the checkpoint beside the bytes that differ in fp16 and int8, 255 for one byte."""
    with gan_export.open(str(DIGITS)) as generator:
        want = generator.sample(16, seed=7)
    parts = [want]
    for precision in ("fp16", "int8"):
        made = folder / f"{precision}.onnx"
        gan_export.export(str(DIGITS), "onnx", str(made), precision=precision)
        with gan_export.open(str(made)) as generator:
            off = np.abs(generator.sample(16, seed=7).astype(int) - want.astype(int))
        parts.append((off * (255 if precision == "fp16" else 16)).clip(0, 255).astype(np.uint8))
    grids = [_grid(part, 4) for part in parts]
    gap = np.full((grids[0].shape[0], 6), 255, np.uint8)
    row = np.concatenate([grids[0], gap, grids[1], gap, grids[2]], 1)
    _save(
        Image.fromarray(row).resize((row.shape[1] * 2, row.shape[0] * 2), Image.Resampling.NEAREST),
        GALLERY / "verify.png",
    )


def speed(folder: Path) -> None:
    """Plot the newest kept run of the suite `cpu`: images per second by runtime at two batch sizes."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    runs = sorted(report.read_all(ROOT / "benchmarks" / "results").values(), key=lambda run: run.created)
    run = next(one for one in reversed(runs) if one.suite == "cpu")
    lines = [line for line in summary.lines(run) if line.quantity == "model"]
    rates = {(summary.title(one.entry), one.batch): one.rate for one in lines if one.rate is not None}
    names = sorted({name for name, batch in rates if batch == 64}, key=lambda n: rates[n, 64].value)
    mpl.rcParams |= {
        "svg.hashsalt": "gan-export",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    figure, axes = plt.subplots(figsize=(7.2, 0.36 * len(names) + 1.3))
    for shift, batch, color in ((0.2, 1, "#9fc9c4"), (-0.2, 64, "#00796b")):
        own = [rates.get((name, batch)) for name in names]
        values = [rate.value if rate else 0.0 for rate in own]
        spread = [[v - r.low if r else 0 for v, r in zip(values, own, strict=True)],
                  [r.high - v if r else 0 for v, r in zip(values, own, strict=True)]]  # fmt: skip
        places = [i + shift for i in range(len(names))]
        axes.barh(places, values, 0.38, xerr=spread, color=color, label=f"batch {batch}", error_kw={"lw": 0.8})
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("images per second (bars: 95 % intervals)")
    where = f"{run.settings.threads} threads of {run.machine.cpu.split(' (')[0]}, {run.created[:10]}"
    axes.set_title(f"{run.model.name} 32 x 32, {where}", fontsize=10)
    axes.legend(loc="lower right", frameon=False)
    figure.tight_layout()
    figure.savefig(GALLERY / "speed.svg", metadata={"Date": None, "Creator": None})


def precision(folder: Path) -> None:
    """Plot speed against accuracy: of the newest kept runs of `cpu-wide` on one thread, each runtime is a point."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    kept = sorted(report.read_all(ROOT / "benchmarks" / "results").values(), key=lambda run: run.created)
    runs = [run for run in kept if run.suite == "cpu-wide" and run.settings.threads == 1]
    if not {"classic", "sngan64"} <= {run.model.name for run in runs}:
        print("precision: left out: gan-bench --suite cpu-wide --save-dir benchmarks/results has not kept its runs yet")
        return
    mpl.rcParams |= {
        "svg.hashsalt": "gan-export",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    figure, panels = plt.subplots(1, 2, figsize=(9.4, 4.0))
    for axes, (name, batch) in zip(panels, (("classic", 64), ("sngan64", 1)), strict=True):
        run = next(one for one in reversed(runs) if one.model.name == name)
        points = [
            (one, one.rate.value, one.parity.psnr)
            for one in summary.lines(run)
            if one.batch == batch and one.rate is not None and one.parity is not None
        ]
        edge = 10.0 + max(psnr for _, _, psnr in points if psnr is not None)  # of images whose bytes are all equal
        rates = [rate for _, rate, _ in points]
        height = 170 / math.log(max(rates) / min(rates))  # points of the plot per unit of a rate's logarithm
        least = min(psnr for _, _, psnr in points if psnr is not None)
        last = -math.inf  # the height of the label below
        for one, rate, psnr in sorted(points, key=lambda point: point[1]):
            ours = one.entry.contender.startswith("native")
            color = "#00796b" if ours else "#666666"
            x = edge if psnr is None else psnr
            axes.plot([x], [rate], "o" if ours else "s", color=color, markersize=5)
            text = summary.title(one.entry).split(" (")[0]
            at = height * math.log(rate)
            last = max(at, last + 10)
            axes.annotate(
                f"{text}, exact" if psnr is None else text, (x, rate), color=color, fontsize=8, va="center",
                ha="left", xytext=(6, last - at), textcoords="offset points",
            )  # fmt: skip
        axes.set_yscale("log")
        axes.set_ylabel("images per second of processor time")
        axes.set_xlabel("PSNR of the bytes to float64, dB")
        threads = f"{run.settings.threads} thread{'s' if run.settings.threads > 1 else ''}"
        axes.set_title(f"{name}, batch {batch}, {threads}, {run.created[:10]}", fontsize=9)
        axes.margins(0.12)
        axes.set_xlim(least - 0.06 * (edge - least), edge + 0.75 * (edge - least))  # labels lie right of their points
    figure.tight_layout()
    figure.savefig(GALLERY / "precision.svg", metadata={"Date": None, "Creator": None})


def web(folder: Path) -> None:
    """Take a screenshot of the page that `gan-export web` writes, with its images."""
    _page(DIGITS, folder, GALLERY / "web.png", _generated)


def web_of_styles(folder: Path) -> None:
    """Take a screenshot of a StyleGAN's page, with styles mixed."""

    def mixed(driver: WebDriver) -> None:
        _generated(driver)
        driver.find_element("id", "mix").click()
        WebDriverWait(driver, 120).until(lambda d: "from seed 12" in d.find_element("id", "status").text)

    example = ROOT / "docs" / "start" / "example_file.py"
    subprocess.run([sys.executable, example, "network.pkl"], check=True, cwd=folder)
    _page(folder / "network.pkl", folder, GALLERY / "web-stylegan.png", mixed, "--psi-input")


def _generated(driver: WebDriver) -> None:
    WebDriverWait(driver, 120).until(lambda d: "Images 0 to 63" in d.find_element("id", "status").text)


def web_of_volumes(folder: Path) -> None:
    """Take a screenshot of the page of solids."""

    def generated(driver: WebDriver) -> None:
        WebDriverWait(driver, 120).until(lambda d: "Volumes 0 to 15" in d.find_element("id", "status").text)
        driver.find_element("xpath", "//button[text()='all']").click()
        WebDriverWait(driver, 120).until(lambda d: "label all" in d.find_element("id", "status").text)

    _page(SOLIDS, folder, GALLERY / "web-volumes.png", generated)


def web_of_images(name: str, file: str, folder: Path) -> None:
    """Take a screenshot of the page of a generator that takes images, the slider in the middle."""
    example = ROOT / "docs" / "start" / "example_file.py"
    subprocess.run([sys.executable, example, file, "photo.png"], check=True, cwd=folder)

    def applied(driver: WebDriver) -> None:
        wait = WebDriverWait(driver, 300)
        wait.until(lambda d: "Ready" in d.find_element("id", "status").text)
        driver.find_element("id", "file").send_keys(str(folder / "photo.png"))
        wait.until(lambda d: "Done in" in d.find_element("id", "status").text)

    _page(folder / file, folder, GALLERY / f"web-{name}.png", applied)


def _page(file: Path, folder: Path, target: Path, until: Callable[[WebDriver], None], *flags: str) -> None:
    """Write the page of a file, and a screenshot of it in Chromium."""
    _gan("gan-export", "web", file, "-o", folder / "site", *flags)
    handler = partial(_Quiet, directory=str(folder / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
        for flag in BROWSER_FLAGS:
            options.add_argument(flag)
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        with webdriver.Chrome(options=options, service=service) as driver:
            driver.set_window_size(900, 900)
            driver.get(f"http://127.0.0.1:{server.server_port}/")
            until(driver)
            driver.save_screenshot(str(folder / "web.png"))
        server.shutdown()
    _save(Image.open(folder / "web.png").convert("RGB"), target)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def _grid(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Return uint8 (N, H, W, 1) as one array (rows x H, columns x W)."""
    n, height, width = pictures.shape[:3]
    tiles = pictures[..., 0].reshape(n // columns, columns, height, width)
    return tiles.transpose(0, 2, 1, 3).reshape(n // columns * height, columns * width)


def _save(image: Image.Image, target: Path) -> None:
    """Write a PNG, of 128 colors if that is smaller."""
    image.save(target, optimize=True)
    if image.mode == "RGB":
        few = target.with_suffix(".few.png")
        image.quantize(128, dither=Image.Dither.NONE).save(few, optimize=True)
        few.replace(target) if few.stat().st_size < target.stat().st_size else few.unlink()


def _animation(made: Path, target: Path) -> None:
    """Write a gray animation with every fourth frame and 16 grays: a tenth of the size."""
    grays = Image.new("P", (1, 1))
    grays.putpalette([value for i in range(16) for value in (i * 17,) * 3])
    with Image.open(made) as whole:
        duration = whole.info["duration"] * 4
        frames = [frame.convert("L").convert("RGB") for frame in ImageSequence.Iterator(whole)][::4]
    few = [frame.quantize(palette=grays, dither=Image.Dither.NONE) for frame in frames]
    few[0].save(target, save_all=True, append_images=few[1:], duration=duration, loop=0, optimize=True)


def _gan(program: str, *words: object) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([program, *map(str, words)], check=True, env=os.environ | {"PATH": path})


BROWSER_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
)  # fmt: skip
PAGES = ("dcgan", "stylegan", "cyclegan", "real-esrgan", "own-module")
MAKERS: dict[str, Callable[[Path], None]] = {
    **{f"start-{name}": partial(start, name) for name in PAGES},
    "walk": walk,
    "styles": styles,
    "turning": turning,
    "readings": readings,
    "verify": verify,
    "speed": speed,
    "precision": precision,
    "web": web,
    "web-stylegan": web_of_styles,
    "web-volumes": web_of_volumes,
    "web-cyclegan": partial(web_of_images, "cyclegan", "latest_net_G.pth"),
    "web-real-esrgan": partial(web_of_images, "real-esrgan", "realesr-general-x4v3.pth"),
}


def main(names: list[str]) -> None:
    """Make the images with these names, or all."""
    if unknown := set(names) - set(MAKERS):
        sys.exit(f"{', '.join(sorted(unknown))}: must be of {', '.join(MAKERS)}")
    for name in names or MAKERS:
        with tempfile.TemporaryDirectory() as folder:
            MAKERS[name](Path(folder))
        print(f"made {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
