"""An evaluator that tells bright images from dark ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class Brightness:
    """As `Evaluator` and `Classifies`: the classes are dark and bright."""

    name = "brightness"

    def check(self, shape: tuple[int, int, int]) -> None:
        """It reads images of any shape."""

    def features(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """As `Evaluator.features`: the mean alone."""
        return images.mean((1, 2, 3), dtype=np.float32)[:, None] / np.float32(255)

    def classify(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """As `Classifies.classify`."""
        bright = self.features(images)
        return np.concatenate([1 - bright, bright], axis=1)
