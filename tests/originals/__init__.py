"""Generators of public repositories, restated: the ground truth that recognising and exporting are held to.

Written from what their code does (keys, shapes, activations), apart from `gan_export.recognize`.
"""

from tests.originals import conditional, flat, named, popular, projected, residual
from tests.originals.common import Original, cuda_tagged, randomized

ORIGINALS: tuple[Original, ...] = (
    *flat.ROWS, *named.ROWS, *projected.ROWS, *residual.ROWS, *conditional.ROWS, *popular.ROWS,
)  # fmt: skip

# Families of more than one image, or of layers that not all formats have: tests/recognize/test_coupled, test_elu and
# test_studiogan; or of volumes and signals: tests/recognize/test_volumes.
APART = ("cogan", "torchgan_began", "studiogan_resnet", "gfpgan", "gan3d", "wavegan")

__all__ = ["APART", "ORIGINALS", "Original", "cuda_tagged", "randomized"]
