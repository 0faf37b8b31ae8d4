"""Recognize 3D-GAN (Wu et al. 2016) as the usual repositories have it: volumes of 32 or 64 a side.

`layer1.0`, `layer1.1`, ..., `layer5.0` on a latent of one voxel, with and without biases (rimchang/3DGAN-Pytorch,
xchhuang/simple-pytorch-3dgan): the first layer doubles the voxel for a side of 32, or gives 4x4x4 for one of 64, with
the same keys and shapes.  `linear`, `conv1.0`, `conv1.1`, ..., `conv4.0` (black0017/3D-GAN-pytorch).
"""

from __future__ import annotations

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import ConvStage, Geometry, Sized, add_conv_stack
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError

_DOUBLES: Geometry = (2, 1, 0)
_GROWS: Geometry = (1, 0, 0)  # from one voxel to the kernel's side
_WIDE = 64  # channels before the last layer from which on a side of 64 is usual: both repositories name it cube_len


def _build(draft: SpecBuilder) -> None:
    linear = draft.maybe("linear")
    name = "conv" if linear is not None else "layer"
    found = draft.numbered(f"{name}#.0", first=(1,))
    if any(m.dims != 3 or m.kernel != 4 for _, m in found):
        raise DoesNotFitError("its kernels are not of 4x4x4")
    stages = [ConvStage(m, draft.maybe(f"{name}{i}.1")) for i, m in found]
    if linear is not None:
        draft.project(linear, stages[0].conv.transposed[0])
        add_conv_stack(draft, stages)
        return
    draft.seed(stages[0].conv)
    rest = (_DOUBLES,) * (len(stages) - 1)
    sizes: list[Sized] = [(2 << len(rest), (_DOUBLES, *rest)), (4 << len(rest), (_GROWS, *rest))]
    wide = stages[-1].conv.transposed[0] >= _WIDE
    add_conv_stack(draft, stages, preferred=sizes[::-1] if wide else sizes)


FAMILY = Family(
    "gan3d", "the 3D-GAN of rimchang, xchhuang and black0017", _build, output="sigmoid", other_outputs=("tanh",)
)
