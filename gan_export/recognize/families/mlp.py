"""Recognize stacks of Linears, the last one as wide as an image: Lightning's example, eriklindernoren's gan and cgan.

`model.0` Linear, `model.2` Linear, `model.3` BatchNorm1d (eps 0.8, which was meant as momentum), `model.5`, ...
"""

from __future__ import annotations

import itertools
import math

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError, Module


def _build(draft: SpecBuilder) -> None:
    modules = draft.sequential()
    features = modules[-1][1].linear[1]
    channels = next((c for c in (1, 3) if features % c == 0 and math.isqrt(features // c) ** 2 == features // c), 0)
    if not channels or features < 64 or features <= modules[0][1].linear[0]:
        raise DoesNotFitError(f"its {features} output features are not an image")
    _require_own_norms(modules)
    draft.latent(modules[0][1].linear[0])
    number, free, norm = 0, 0, False
    for at, m in modules:
        if m.kind == "batchnorm":
            if at != free or norm:
                raise DoesNotFitError(f"another layer is before {m.key}")
            draft.batch_norm(f"bn{number - 1}", m)
            norm, free = True, at + 1
            continue
        if number:
            draft.activation(number - 1)
            free += 1
        if at != free:
            raise DoesNotFitError(f"more or less than one activation is before {m.key}")
        draft.linear(f"fc{number}", m)
        number, norm, free = number + 1, False, at + 1
    draft.output()
    draft.picture(channels)


def _require_own_norms(modules: list[tuple[int, Module]]) -> None:
    """Leave others to the generic reading, for eps: their BatchNorms follow Linears that double, but for the first."""
    kinds = "".join("n" if m.kind == "batchnorm" else "l" for _, m in modules)
    widths = [m.linear[1] for _, m in modules if m.kind == "linear"][:-1]
    if "n" in kinds and (kinds[:2] != "ll" or any(b != 2 * a for a, b in itertools.pairwise(widths))):
        raise DoesNotFitError("its BatchNorms don't follow Linears that double their width, all but the first")


FAMILY = Family(
    "mlp",
    "Lightning's GAN example, eriklindernoren's gan and cgan",
    _build,
    slope=0.2,
    bn_eps=0.8,
    label_order="before",
)
