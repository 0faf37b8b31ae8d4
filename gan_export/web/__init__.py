"""Images and volumes in a browser: the engine as WebAssembly, a JavaScript module for it, and a page that uses both."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gan_export._lib.escape import json_text
from gan_export._lib.fs import atomic_folder, write_text
from gan_export.errors import GanExportError, printable

MODULE = (
    "gan.js", "gan.d.ts", "engine.js", "worker.js", "latents.js", "styles.js", "tiles.js", "onnx.js", "surface.js",
)  # fmt: skip
ENGINES = ("gan.wasm", "gan-simd.wasm", "gan-relaxed.wasm")  # for any browser, with SIMD, with relaxed SIMD
SHARED = "base.css"  # of both pages
PAGE = ("index.html", "app.js", "style.css")
PAGE_OF_LATENTS = ("style_controls.js", "walk.js", "volume_view.js", "turning.js")
GENERATOR = "generator.gan"
MAPPING = "mapping.gan"  # beside it, if that is a style-based generator's synthesis
ONNX_GENERATOR = "generator.onnx"
RUNTIME = "onnxruntime-web"
BUNDLES = {"wasm": "ort.wasm.min.mjs", "webgpu": "ort.webgpu.min.mjs"}  # provider -> its file of onnxruntime-web

_HERE = Path(__file__).parent
Put = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Onnx:
    """The second backend of a page: a function that writes the ONNX file to a path, and `runtime_files`."""

    put: Put
    runtime: tuple[Path, ...]


def runtime_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of onnxruntime-web that a page needs; `folder` is its dist, the package, or its node_modules.

    Raises GanExportError if a file is missing.
    """
    places = (folder / inner for inner in (".", "dist", f"{RUNTIME}/dist", f"node_modules/{RUNTIME}/dist"))
    dist = next((place for place in places if all((place / bundle).is_file() for bundle in BUNDLES.values())), None)
    if dist is None:
        raise GanExportError(
            f"{printable(str(folder))} has no {RUNTIME}: run npm install {RUNTIME}, then name the node_modules there"
        )
    files = []
    for bundle in BUNDLES.values():  # each starts one loader, which starts the .wasm next to it
        loader = re.search(r"ort-wasm[\w.-]*(?=\.mjs)", (dist / bundle).read_text(encoding="utf-8"))
        if loader is None:
            raise GanExportError(f"{printable(str(dist / bundle))} is no build of {RUNTIME} that is known here")
        files += [dist / bundle, dist / f"{loader[0]}.mjs", dist / f"{loader[0]}.wasm"]
    for file in files:
        if not file.is_file():
            raise GanExportError(f"{printable(str(file))} is not there: install {RUNTIME} again")
    return tuple(files)


def write_site(
    target: Path,
    put_generator: Put,
    onnx: Onnx | None = None,
    *,
    put_mapping: Put | None = None,
    takes_images: bool = False,
) -> int:
    """Write a static page into the folder `target`, which must be new or empty; return the bytes of its files.

    `put_generator` writes the `.gan` file to a path; if it raises, the folder is removed.  With `onnx`, the user of the
    page can choose the backend.  put_mapping: writes a style-based generator's mapping; the generator is its synthesis.
    takes_images: write the page to drop an image on, for a generator that takes one.
    """
    site: dict[str, object] = {"generator": GENERATOR}
    with atomic_folder(target) as folder:
        put_generator(folder / GENERATOR)
        if put_mapping:
            put_mapping(folder / MAPPING)
            site["mapping"] = MAPPING
        if onnx:
            onnx.put(folder / ONNX_GENERATOR)
            (folder / RUNTIME).mkdir()
            for file in onnx.runtime:
                shutil.copyfile(file, folder / RUNTIME / file.name)
            site["onnx"] = {"generator": ONNX_GENERATOR, "runtime": f"{RUNTIME}/", "bundles": BUNDLES}
        for name in (*MODULE, *ENGINES, SHARED):
            shutil.copyfile(_HERE / name, folder / name)
        for name in PAGE if takes_images else (*PAGE, *PAGE_OF_LATENTS):
            shutil.copyfile(_HERE / ("image_page" if takes_images else "page") / name, folder / name)
        write_text(folder / "site.json", json_text(site))
    return sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
