"""martinarjovsky/WassersteinGAN: modules named by their place and channels, `main.pyramid:512-256:convt`.

Written with dots where torch allowed them in names; `extra-layers-N` are Conv2d of kernel 3; one variant has no
BatchNorm.
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import ConvStage, add_conv_stack
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError

_CONV = r"(initial|pyramid|extra-layers-\d+|final)[:.](?:(\d+)-)?(\d+)[:.](convt|conv)"
_PLACES = ("initial", "pyramid", "extra-layers", "final")


def _build(draft: SpecBuilder) -> None:
    norms = dict(draft.matching(r"(initial|pyramid|extra-layers-\d+)[:.](\d+)[:.]batchnorm"))
    stages: list[tuple[tuple[int, int, int], ConvStage]] = []
    for (place, _, out, op), m in draft.matching(_CONV):
        kind, _, number = place.partition("layers-")
        order = _PLACES.index("extra-layers" if number else kind)
        stage = ConvStage(m, norms.get((place, out)), "convt" if op == "convt" else "conv")
        # The pyramid's channels halve at every step, so fewer come later.
        stages.append(((order, int(number or 0), -int(out)), stage))
    stages.sort(key=lambda pair: pair[0])
    if not stages or stages[0][0][0] != 0 or stages[-1][0][0] != len(_PLACES) - 1:
        raise DoesNotFitError("no initial and final convt", ("main.initial:100-512:convt.weight",))
    ordered = [s for _, s in stages]
    draft.seed(ordered[0].conv)
    add_conv_stack(draft, ordered)


FAMILY = Family("wassersteingan", "martinarjovsky/WassersteinGAN", _build)
