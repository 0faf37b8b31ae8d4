"""Plain C: a header, a source and a weights file that need no library of gan-export, and an example program.

The other modules of this package make the text.  There is no Makefile and no malloc; docs/c.md shows how to use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gan_export._lib.fs import write_text
from gan_export.checkpoint.exportable import known_layers
from gan_export.exporters.base import Options, make_manifest
from gan_export.formats.c import C_MANIFEST
from gan_export.formats.manifest import Manifest
from gan_export.graph.lower import lower
from gan_export.graph.views import ImageToImage

if TYPE_CHECKING:
    from gan_export.checkpoint.exportable import Exportable


@dataclass(frozen=True, slots=True)
class PlainC:
    """The exporter of a folder: SYMBOL.h, SYMBOL.c, SYMBOL.weights (or SYMBOL_weights.c), example.c, the manifest."""

    name: str = "c"
    title: str = "plain C99"
    suffix: str = "-c"
    folder: bool = True
    runtime: str = "c"
    takes: tuple[str, ...] = ("precision", "embed_weights", "symbol")
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    devices: tuple[str, ...] = ("cpu",)
    runs: str = "any C99 compiler"
    needs: tuple[str, ...] = ("torch",)
    install: str = ""
    compilers: tuple[str, ...] = ()
    core: bool = True

    def write(self, generator: Exportable, target: Path, options: Options) -> Manifest:
        """Write the folder `target`; see `Exporter.write`.  The precision is that of the weights; sums are float32."""
        from gan_export.exporters.c import names, plan, text, text_images, weights
        from gan_export.exporters.c.source import Source

        symbol = names.checked_symbol(options.symbol)
        checkpoint = known_layers(generator, "c")
        spec, arrays = lower(checkpoint.spec, checkpoint.weights)
        layout = plan.make(spec)
        dropouts = [port.name for port in layout.of.dropouts] if isinstance(layout.of, ImageToImage) else []
        manifest = make_manifest(self, generator, options, {})
        source = Source(
            symbol=symbol,
            plan=layout,
            members=weights.members(layout, arrays, options.precision),
            names=names.for_layers([*dropouts, *(layer.name for layer in spec.layers)], options.symbol),
            manifest=manifest,
            embedded=options.embed_weights,
        )
        target.mkdir(exist_ok=True)
        texts = text_images if isinstance(layout.of, ImageToImage) else text
        files = {
            f"{options.symbol}.h": texts.header(source),
            f"{options.symbol}.c": texts.source(source),
            "example.c": texts.example(source),
        }
        if options.embed_weights:
            files[f"{options.symbol}_weights.c"] = text.embedded_weights(source)
        else:
            (target / f"{options.symbol}.weights").write_bytes(source.data)
        for name, content in files.items():
            write_text(target / name, content)
        write_text(target / C_MANIFEST, manifest.to_text())
        return manifest


C = PlainC()
