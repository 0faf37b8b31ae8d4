"""Pictures in a browser: the engine as WebAssembly, a JavaScript module over it, and a page that uses both."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gan_export._lib.escape import json_text
from gan_export._lib.fs import atomic_folder, write_text
from gan_export.errors import GanExportError, printable

MODULE = ("gan.js", "gan.d.ts", "engine.js", "worker.js", "latents.js", "onnx.js")
ENGINES = ("gan.wasm", "gan-simd.wasm", "gan-relaxed.wasm")  # for any browser, with SIMD, with relaxed SIMD
PAGE = ("index.html", "app.js", "style.css")
GENERATOR = "generator.gan"
ONNX_GENERATOR = "generator.onnx"
RUNTIME = "onnxruntime-web"
BUNDLES = {"wasm": "ort.wasm.min.mjs", "webgpu": "ort.webgpu.min.mjs"}  # provider -> its file of onnxruntime-web

_HERE = Path(__file__).parent
Put = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Onnx:
    """A page's second backend: what writes the ONNX file to the path that it is given, and `runtime_files`."""

    put: Put
    runtime: tuple[Path, ...]


def runtime_files(folder: Path) -> tuple[Path, ...]:
    """What a page needs of onnxruntime-web.  `folder` is the package's dist, the package, or node_modules about it.

    Raises GanExportError where it isn't all there.
    """
    places = (folder / inner for inner in (".", "dist", f"{RUNTIME}/dist", f"node_modules/{RUNTIME}/dist"))
    dist = next((place for place in places if all((place / bundle).is_file() for bundle in BUNDLES.values())), None)
    if dist is None:
        raise GanExportError(
            f"{printable(str(folder))} has no {RUNTIME}: run npm install {RUNTIME}, then name the node_modules there"
        )
    files = []
    for bundle in BUNDLES.values():  # each names the one loader that it starts, which starts the .wasm beside it
        loader = re.search(r"ort-wasm[\w.-]*(?=\.mjs)", (dist / bundle).read_text(encoding="utf-8"))
        if loader is None:
            raise GanExportError(f"{printable(str(dist / bundle))} is no build of {RUNTIME} that is known here")
        files += [dist / bundle, dist / f"{loader[0]}.mjs", dist / f"{loader[0]}.wasm"]
    for file in files:
        if not file.is_file():
            raise GanExportError(f"{printable(str(file))} is not there: install {RUNTIME} again")
    return tuple(files)


def write_site(target: Path, put_generator: Put, onnx: Onnx | None = None) -> int:
    """A static page in the folder `target`, which must not be there or be empty; gives the bytes of its files.

    `put_generator` writes the `.gan` file to the path that it is given.  Whatever it raises leaves no folder.
    With `onnx` the page lets its user choose who draws.
    """
    site: dict[str, object] = {"generator": GENERATOR}
    with atomic_folder(target) as folder:
        put_generator(folder / GENERATOR)
        if onnx:
            onnx.put(folder / ONNX_GENERATOR)
            (folder / RUNTIME).mkdir()
            for file in onnx.runtime:
                shutil.copyfile(file, folder / RUNTIME / file.name)
            site["onnx"] = {"generator": ONNX_GENERATOR, "runtime": f"{RUNTIME}/", "bundles": BUNDLES}
        for name in (*MODULE, *ENGINES):
            shutil.copyfile(_HERE / name, folder / name)
        for name in PAGE:
            shutil.copyfile(_HERE / "page" / name, folder / name)
        write_text(folder / "site.json", json_text(site))
    return sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
