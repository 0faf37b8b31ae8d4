"""Pictures in a browser: the engine as WebAssembly, a JavaScript module over it, and a page that uses both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from gan_export.files import atomic_folder

MODULE = ("gan.js", "gan.d.ts", "engine.js", "worker.js", "latents.js", "onnx.js")
ENGINES = ("gan.wasm", "gan-simd.wasm", "gan-relaxed.wasm")  # for any browser, with SIMD, with relaxed SIMD
PAGE = ("index.html", "app.js", "style.css")
GENERATOR = "generator.gan"

_HERE = Path(__file__).parent


def write_site(target: Path, put_generator: Callable[[Path], object]) -> int:
    """A static page in the folder `target`, which must not be there or be empty; gives the bytes of its files.

    `put_generator` writes the `.gan` file to the path that it is given.  Whatever it raises leaves no folder.
    """
    with atomic_folder(target) as folder:
        put_generator(folder / GENERATOR)
        for name in (*MODULE, *ENGINES):
            shutil.copyfile(_HERE / name, folder / name)
        for name in PAGE:
            shutil.copyfile(_HERE / "page" / name, folder / name)
        (folder / "site.json").write_text(json.dumps({"generator": GENERATOR}) + "\n", encoding="utf-8")
    return sum(f.stat().st_size for f in target.iterdir())
