"""Compare onnxruntime-web's WebAssembly with the engine's, in turns in one Chromium.

    npm install onnxruntime-web
    python benchmarks/browser.py g.gan g.onnx node_modules [--name HOST]
    python benchmarks/browser.py x4.gan x4.onnx node_modules --image 128x128 --batches 1  # the ONNX with --uint8

Prints one JSON object: milliseconds from an empty page to the first image, each in a page of its own, and of each batch
size in one page, in turns; the share of bytes that differ.  All go from a seed to bytes, or from an image's bytes to
bytes: onnxruntime-web and the engine with one thread, and the engine with its default number of workers.  With
--isolated the page is cross-origin isolated, and onnxruntime-web has as many threads as processors.  With --name, the
result is also written to results/browser-HOST.json.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import re
import shutil
import statistics
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selenium import webdriver

from gan_export import web
from gan_export.bench import environment

RESULTS = Path(__file__).resolve().parent / "results"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
ONNXRUNTIME = """
        const ort = await import('/ort/ort.wasm.min.mjs');
        Object.assign(ort.env.wasm, {numThreads: THREADS, wasmPaths: '/ort/'});
        const session = await ort.InferenceSession.create('/g.onnx');"""
SIDES = {
    "onnxruntime-web": ONNXRUNTIME
    + """
        const nz = NZ, {draw, table} = await import('/latents.js'), T = table('normal');
        return async (n) => {
            const z = new ort.Tensor('float32', draw(T, 7n, 0n, n, nz), [n, nz]);
            const image = (await session.run({z}))[session.outputNames[0]], x = image.data;
            const [, c, h, w] = image.dims, bytes = new Uint8ClampedArray(x.length), plane = h * w;
            for (let first = 0; first < x.length; first += c * plane)
                for (let i = 0; i < c * plane; i++)
                    bytes[first + i % plane * c + Math.floor(i / plane)] =
                        Math.floor(Math.fround(Math.fround(x[first + i] * 127.5) + 128));
            return bytes;
        };""",
    "engine": """
        const {open} = await import('/gan.js'), generator = await open('/g.gan', {threads: 1});
        return async (n) => (await generator.generate({seed: 7n, count: n})).data;""",
    "engine, all cores": """
        const {open} = await import('/gan.js'), generator = await open('/g.gan');
        return async (n) => (await generator.generate({seed: 7n, count: n})).data;""",
}
IMAGE = """
        const rgb = Uint8Array.from({length: HEIGHT * WIDTH * 3}, (_, i) => i * 2654435761 >>> 24);"""
APPLY = """
        return async () => (await generator.apply({data: rgb, width: WIDTH, height: HEIGHT})).data;"""
SIDES_OF_IMAGES = {
    "onnxruntime-web": ONNXRUNTIME
    + IMAGE
    + """
        return async () => (await session.run({[session.inputNames[0]]:
            new ort.Tensor('uint8', rgb, [1, HEIGHT, WIDTH, 3])}))[session.outputNames[0]].data;""",
    "engine": """
        const {open} = await import('/gan.js'), generator = await open('/g.gan', {threads: 1});"""
    + IMAGE
    + APPLY,
    "engine, all cores": """
        const {open} = await import('/gan.js'), generator = await open('/g.gan');"""
    + IMAGE
    + APPLY,
}
TURN = 300  # milliseconds of a side's turn


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


class Isolated(Quiet):
    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


def run(browser: Any, body: str) -> Any:
    script = "const done = arguments[0]; (async () => {" + body + "})().then(done, e => done({error: String(e)}))"
    result = browser.execute_async_script(script)
    if isinstance(result, dict) and "error" in result:
        raise SystemExit(result["error"])
    return result


def sides_of(args: argparse.Namespace) -> dict[str, str]:
    """Return the script of each side, which gives a function from a number of images to their bytes."""
    height, width = map(str, args.image or (0, 0))
    threads = "navigator.hardwareConcurrency" if args.isolated else "1"
    words = {"NZ": str(args.nz), "HEIGHT": height, "WIDTH": width, "THREADS": threads}
    other = "onnxruntime-web, all cores" if args.isolated else "onnxruntime-web"
    return {
        other if name == "onnxruntime-web" else name: re.sub("|".join(words), lambda word: words[word[0]], code)
        for name, code in (SIDES_OF_IMAGES if args.image else SIDES).items()
    }


def sides(text: str) -> tuple[int, int]:
    """Return height and width; raises ValueError, which argparse reports."""
    height, width = text.split("x")
    return int(height), int(width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gan", type=Path)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("runtime", type=Path)
    parser.add_argument("--nz", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pages", type=int, default=5)
    parser.add_argument("--batches", type=lambda text: tuple(map(int, text.split(","))), default=(1, 64))
    parser.add_argument("--calls", type=int, default=3, help="the fewest of a turn")
    parser.add_argument("--image", type=sides, help="HEIGHTxWIDTH of the image that goes in, if one does")
    parser.add_argument("--isolated", action="store_true", help="with the headers that threads in the page need")
    parser.add_argument("--name")
    args = parser.parse_args()
    scripts = sides_of(args)
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        web.write_site(site, lambda target: shutil.copyfile(args.gan, target))
        for extra in (args.gan, args.onnx):
            shutil.copyfile(extra, site / f"g{extra.suffix}")
        (site / "ort").mkdir()
        for file in web.runtime_files(args.runtime):
            shutil.copyfile(file, site / "ort" / file.name)
        (site / "empty.html").write_text("<!doctype html><title>empty</title><link rel=icon href=data:,>")
        handler = Isolated if args.isolated else Quiet
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{server.server_port}/empty.html"
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        browser.set_script_timeout(170)
        first: dict[str, list[float]] = {name: [] for name in scripts}
        for turn in range(args.pages):
            for name, code in scripts.items():
                browser.get(f"{page}?{turn}{name}")
                opened = "const t = performance.now(), draw = await (async () => {" + code + "})(); await draw(1);"
                first[name].append(run(browser, opened + "return performance.now() - t;"))
        browser.get(page)
        makers = ", ".join("await (async () => {" + code + "})()" for code in scripts.values())
        off = run(
            browser,
            f"""
            window.sides = [{makers}];
            for (let i = 0; i < {args.calls}; i++)
                for (const draw of sides) for (const n of {list(args.batches)}) await draw(n);
            const all = [];
            for (const draw of sides) all.push(await draw({max(args.batches)}));
            const [a, ...others] = all;
            return others.map(b => a.reduce((n, v, i) => n + (v !== b[i]), 0) / a.length);""",
        )
        times: dict[str, dict[int, list[float]]] = {name: {n: [] for n in args.batches} for name in scripts}
        for _ in range(args.rounds):
            for i, name in enumerate(scripts):
                for n in args.batches:
                    spent = run(
                        browser,
                        f"""
                        const begun = performance.now();
                        let calls = 0, spent = 0;
                        for (; calls < {args.calls} || spent < {TURN}; calls++) {{
                            await sides[{i}]({n});
                            spent = performance.now() - begun;
                        }}
                        return spent / calls;""",
                    )
                    times[name][n].append(spent)
        onnxruntime = run(browser, "return (await import('/ort/ort.wasm.min.mjs')).env.versions.web;")
        version = browser.capabilities["browserVersion"]
        browser.quit()
        server.shutdown()
    rates = {name: {n: round(1000 * n / statistics.median(t[n]), 1) for n in args.batches} for name, t in times.items()}
    differ = dict(zip(list(scripts)[1:], off, strict=True))
    record = {
        "chromium": version, "onnxruntime-web": onnxruntime,
        "machine": asdict(environment.describe()), "commit": environment.commit(),
        "first_picture_ms": first, "call_ms": times, "images_per_second": rates, "bytes_that_differ": differ,
    }  # fmt: skip
    print(json.dumps(record, indent=1))
    if args.name:
        (RESULTS / f"browser-{args.name}.json").write_text(json.dumps(record) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
