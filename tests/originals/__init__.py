"""Generators of public repositories, restated: the ground truth that recognising and exporting are held to.

Written from what their code does (keys, shapes, activations), apart from `gan_export.recognize`.
"""

from tests.originals import conditional, flat, named, projected, residual
from tests.originals.common import Original, cuda_tagged, randomised

ORIGINALS: tuple[Original, ...] = (*flat.ROWS, *named.ROWS, *projected.ROWS, *residual.ROWS, *conditional.ROWS)

__all__ = ["ORIGINALS", "Original", "cuda_tagged", "randomised"]
