"""Linears alone, the last one as wide as a picture: Lightning's example, eriklindernoren's gan and cgan.

`model.0` Linear, `model.2` Linear, `model.3` BatchNorm1d (0.8 as eps where momentum was meant), `model.5`, ...
"""

from __future__ import annotations

import math

from gan_export.recognize.builder import DoesNotFitError, Family, SpecBuilder


def _build(draft: SpecBuilder) -> None:
    modules = draft.sequential()
    features = modules[-1][1].linear[1]
    channels = next((c for c in (1, 3) if features % c == 0 and math.isqrt(features // c) ** 2 == features // c), 0)
    if not channels or features < 64 or features <= modules[0][1].linear[0]:
        raise DoesNotFitError(f"{features} features at the end are no picture that a latent grows to")
    draft.latent(modules[0][1].linear[0])
    number, free, norm = 0, 0, False
    for at, m in modules:
        if m.kind == "batchnorm":
            if at != free or norm:
                raise DoesNotFitError(f"something stands before {m.key}")
            draft.batch_norm(f"bn{number - 1}", m)
            norm, free = True, at + 1
            continue
        if number:
            draft.activation(number - 1)
            free += 1
        if at != free:
            raise DoesNotFitError(f"not just an activation stands before {m.key}")
        draft.linear(f"fc{number}", m)
        number, norm, free = number + 1, False, at + 1
    draft.output()
    draft.picture(channels)


FAMILY = Family(
    "mlp",
    "Lightning's GAN example, eriklindernoren's gan and cgan",
    _build,
    slope=0.2,
    bn_eps=0.8,
    label_order="before",
)
