"""gan-export: from a GAN checkpoint to a generator you can ship.

`import gan_export` is light: torch and every runtime are imported where they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from gan_export.checkpoint import Checkpoint, Overrides
    from gan_export.runtimes.native import Model

__version__ = "0.1.0"


def load(path: Path | str, overrides: Overrides | None = None) -> Checkpoint:
    """A checkpoint read as data, nothing in it run: `.spec` is the generator, `.weights` its arrays by name.

    Raises GanExportError for what is no generator's checkpoint, NotRecognisedError among them.
    """
    from gan_export import checkpoint

    return checkpoint.read(path, overrides)


def open(path: Path | str, *, max_memory: int = 0) -> Model:
    """A `.gan` file, ready to draw from: `gan_export.open("g.gan").generate(seed=7, count=64)`.

    max_memory bounds the engine's transformed weights and scratch in bytes; 0 leaves them free.
    """
    from gan_export.runtimes.native import Model

    return Model(path, max_memory=max_memory)
