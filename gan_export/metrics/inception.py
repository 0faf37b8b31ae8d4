"""The features of Inception v3 by torch-fidelity, which FID and KID are defined with.

The library computes the same features as the TensorFlow graph of Heusel et al. 2017.  It downloads the weights (96 MB)
when they are first used, unless a file is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gan_export._lib.extras import missing
from gan_export._lib.fs import sha256_file
from gan_export.errors import GanExportError, first_line, printable
from gan_export.metrics.distances import Bytes, Floats

NAME = "inception"
_LAYER = "2048"  # torch-fidelity's name of the last pooling layer
_BATCH = 32


class Inception:
    """The evaluator `inception`: 2,048 features of images of any size, with 1 or 3 channels.

    weights: torch-fidelity's file, weights-inception-2015-12-05-6726825d.pth; None downloads it
    Raises GanExportError if torch-fidelity is not installed, or the weights can't be read or downloaded.
    """

    def __init__(self, weights: Path | None = None) -> None:
        if reason := missing("torch_fidelity"):
            raise GanExportError(f"the evaluator {NAME} {reason}")
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        if weights is not None and not weights.is_file():
            raise GanExportError(f"{printable(str(weights))} doesn't exist; it must be torch-fidelity's weights file")
        path = None if weights is None else str(weights)
        try:
            self._extract: Any = FeatureExtractorInceptionV3(NAME, [_LAYER], feature_extractor_weights_path=path)
        except Exception as e:  # a download, a damaged file, or keys of another network
            where = "torch-fidelity can't download its weights" if weights is None else printable(str(weights))
            raise GanExportError(
                f"{where} ({first_line(e, 80)}); weights= takes weights-inception-2015-12-05-6726825d.pth of "
                "torch-fidelity's releases"
            ) from None
        self._extract.eval().requires_grad_(False)
        self.name = NAME if weights is None else f"{NAME} {sha256_file(weights)}"

    def check(self, shape: tuple[int, int, int]) -> None:
        """Check the shape of images; see `Evaluator.check`."""
        if shape[0] not in (1, 3):
            raise GanExportError(f"the evaluator {NAME} reads images of 1 or 3 channels, not of {shape[0]}")

    def features(self, images: Bytes) -> Floats:
        """Return features (N, 2048); see `Evaluator.features`.  Gray images are repeated in three channels."""
        import torch

        three = images if images.shape[3] == 3 else np.repeat(images, 3, 3)
        x = torch.from_numpy(np.ascontiguousarray(three.transpose(0, 3, 1, 2)))
        with torch.inference_mode():
            return np.concatenate([self._extract(part)[0].float().numpy() for part in torch.split(x, _BATCH)])
