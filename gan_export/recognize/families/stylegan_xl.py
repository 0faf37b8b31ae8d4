"""StyleGAN-XL (autonomousvision): StyleGAN3's layers behind a label's pretrained features, with a mean of w per class.

A generator that was enlarged has its first layers from a smaller one, and one number is missing between its layers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.families.stylegan3 import generated, layers_of
from gan_export.recognize.nvlabs import NvlabsFile, mapping_with
from gan_export.recognize.state_dict import DoesNotFitError, Module
from gan_export.recognize.style_parts import Label

_ENLARGED = "SuperresGenerator"


def _build(draft: SpecBuilder) -> None:
    file = NvlabsFile(draft)
    table = next((m for m in draft.state.embeddings if m.key.rpartition("mapping.")[2] == "embed"), None)
    if table is None:
        raise DoesNotFitError("no mapping.embed of pretrained features", ("mapping.embed.weight",))
    layers = layers_of(draft, gap=True)
    label = _label(file, table)
    mapping = mapping_with(file, len(layers) + 1, label, center_per_class=label is not None)
    top = draft.state.settings.get("")
    generated(file, layers, mapping, _ENLARGED if top is not None and top.kind == _ENLARGED else "Generator")


def _label(file: NvlabsFile, table: Module) -> Label | None:
    """Return what turns a label into features; None for a generator without labels, whose table is never read."""
    draft = file.draft
    draft.used.add(table.key)
    if draft.maybe("mapping.embed_proj") is None:
        draft.idle += table.keys().values()
        return None
    classes, width = table.weight
    projection = file.dense("mapping.embed_proj", 1.0, active=True)
    out, inside = projection.shape
    if inside != width:
        raise DoesNotFitError(f"mapping.embed_proj takes {inside} features, and mapping.embed has {width}")

    def features(rows: npt.NDArray[np.float64], *arrays: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return projection.apply(rows, *arrays)

    return Label((classes, out), (f"{table.key}.weight", projection.weight, projection.bias), features)


FAMILY = Family("stylegan_xl", "autonomousvision's StyleGAN-XL", _build, output="none")
