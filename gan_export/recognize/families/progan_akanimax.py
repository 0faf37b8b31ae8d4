"""akanimax/pro_gan_pytorch: `layers.{i}.conv_{1,2}` (before 3.0 `initial_block` is the first), `rgb_converters.{i}`.

Its files have `shadow_generator` and `generator`, each with `conf`.  The networks have all stages from the start.
"""

from __future__ import annotations

from gan_export.errors import GanExportError
from gan_export.graph.layers import Reshape
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.options import Assumption
from gan_export.recognize.progressive import (
    Layer,
    agree,
    conv,
    enlarged,
    equalized,
    from_pixel,
    layer,
    leaky,
    leave_out,
    pixel_norm,
    stage_of,
)
from gan_export.recognize.state_dict import DoesNotFitError

SLOPE = 0.2


def _build(draft: SpecBuilder) -> None:
    early = draft.maybe("initial_block.conv_1") is not None
    blocks = [f"layers.{i}" for i, _ in draft.numbered("layers.#.conv_1")]
    blocks = ["initial_block", *blocks] if early else blocks
    first = layer(draft, f"{blocks[0]}.conv_1", 4, transposed=True)
    if first.shape[2] != 4 or len(blocks) < 2:
        raise DoesNotFitError(f"{blocks[0]}.conv_1 is {first.shape}, not a transposed convolution of 4x4")
    converters = [layer(draft, f"rgb_converters.{i}", 4) for i in range(len(blocks))]
    nz, config = first.shape[0], draft.state.config
    agree(draft, depth=len(blocks) + 1, latent_size=nz, num_channels=converters[-1].shape[0])
    scaled = config.get("use_eql", True)
    if not isinstance(scaled, bool):
        raise GanExportError("its config has a use_eql that is not true or false")
    if not config:
        draft.assumed.append(Assumption("each layer has an equalized learning rate", "yes", ""))
    stage = stage_of(draft, [4 << i for i in range(len(blocks))])

    def convolved(name: str, read: Layer, *, normed: bool = True) -> None:
        conv(draft, name, equalized(read, on=scaled))
        leaky(draft, name, SLOPE)
        if normed:
            pixel_norm(draft, name)

    draft.latent(nz)
    if early:
        draft.notes.append("its sampling script scales z to a length of √nz; here z is as it is in training")
    else:
        pixel_norm(draft, "z")
    draft.add(Reshape, "seed", shape=(nz, 1, 1))
    from_pixel(draft, "conv0_0", equalized(first, on=scaled, fan_in=nz))
    leaky(draft, "conv0_0", SLOPE)
    convolved("conv0_1", layer(draft, f"{blocks[0]}.conv_2", 4))
    for s, path in enumerate(blocks[1 : stage + 1], 1):
        enlarged(draft, f"up{s}")
        for i in range(2):
            convolved(f"conv{s}_{i}", layer(draft, f"{path}.conv_{i + 1}", 4))
    conv(draft, "to_image", equalized(converters[stage], on=scaled))
    leave_out(draft, (f"{path}.conv_{i}" for path in blocks[stage + 1 :] for i in (1, 2)))


FAMILY = Family("progan_akanimax", "akanimax's pro_gan_pytorch", _build, output="none")
