"""onnxruntime-web's WebAssembly against the engine's, in turns in one Chromium, one thread each.

    npm install onnxruntime-web
    python benchmarks/browser.py g.gan g.onnx node_modules/onnxruntime-web/dist

Prints one JSON object: milliseconds from an empty page to the first picture, each in a page of its own, and of
batches of 64 in one page, taken alternately; bytes that differ.  Both go from a seed to bytes.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import platform
import shutil
import statistics
import tempfile
import threading
from pathlib import Path
from typing import Any

from selenium import webdriver

from gan_export import web

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
SIDES = {
    "onnxruntime-web": """
        const ort = await import('/ort/ort.wasm.min.mjs');
        Object.assign(ort.env.wasm, {numThreads: 1, wasmPaths: '/ort/'});
        const session = await ort.InferenceSession.create('/g.onnx');
        const nz = NZ, {draw, table} = await import('/latents.js'), T = table('normal');
        return async (n) => {
            const z = new ort.Tensor('float32', draw(T, 7n, 0n, n, nz), [n, nz]);
            const x = (await session.run({z}))[session.outputNames[0]].data, bytes = new Uint8ClampedArray(x.length);
            for (let i = 0; i < x.length; i++) bytes[i] = Math.floor(Math.fround(Math.fround(x[i] * 127.5) + 128));
            return bytes;
        };""",
    "engine": """
        const {open} = await import('/gan.js'), generator = await open('/g.gan', {threads: 1});
        return async (n) => (await generator.generate({seed: 7n, count: n})).data;""",
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def run(browser: Any, body: str) -> Any:
    script = "const done = arguments[0]; (async () => {" + body + "})().then(done, e => done({error: String(e)}))"
    result = browser.execute_async_script(script)
    if isinstance(result, dict) and "error" in result:
        raise SystemExit(result["error"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gan", type=Path)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--nz", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    sides = {name: code.replace("NZ", str(args.nz)) for name, code in SIDES.items()}
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
        for file in args.dist.glob("ort*wasm*"):
            shutil.copyfile(file, site / "ort" / file.name)
        (site / "empty.html").write_text("<!doctype html><title>empty</title><link rel=icon href=data:,>")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{server.server_port}/empty.html"
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        browser.set_script_timeout(170)
        first: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(3):
            for name, code in sides.items():
                browser.get(f"{page}?{turn}{name}")
                opened = "const t = performance.now(), draw = await (async () => {" + code + "})(); await draw(1);"
                first[name].append(run(browser, opened + "return performance.now() - t;"))
        browser.get(page)
        makers = ", ".join("await (async () => {" + code + "})()" for code in sides.values())
        batches, off = run(
            browser,
            f"""
            const sides = [{makers}], times = [[], []];
            for (let i = 0; i < 3; i++) for (const draw of sides) await draw(64);
            for (let i = 0; i < {args.rounds}; i++) for (const [j, draw] of sides.entries()) {{
                const t = performance.now(); await draw(64); times[j].push(performance.now() - t);
            }}
            const [a, b] = [await sides[0](64), await sides[1](64)];
            return [times, a.reduce((n, v, i) => n + (v !== b[i]), 0) / a.length];""",
        )
        version = browser.capabilities["browserVersion"]
        browser.quit()
        server.shutdown()
    medians = [statistics.median(times) for times in batches]
    record = {
        "chromium": version, "machine": platform.machine(), "first_picture_ms": first,
        "batch_64_ms": dict(zip(sides, batches, strict=True)),
        "images_per_second": {name: round(64000 / m) for name, m in zip(sides, medians, strict=True)},
        "ratio": round(medians[0] / medians[1], 2), "bytes_that_differ": off,
    }  # fmt: skip
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
