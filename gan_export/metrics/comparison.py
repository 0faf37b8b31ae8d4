"""State how far one set of measured images is from another."""

from __future__ import annotations

from dataclasses import dataclass

from gan_export.metrics import distances
from gan_export.metrics.reference import Measured


@dataclass(frozen=True, slots=True)
class Comparison:
    """The distances of generated images from reference images, in the features of one evaluator.

    frechet:           squared Frechet distance of the Gaussians (FID with the evaluator `inception`)
    kernel:            kernel distance (KID with `inception`), mean over subsets; kernel_spread: its standard deviation
    precision, recall, density, coverage: by the nearest neighbors of the first `neighbors` images of each side
    """

    evaluator: str
    images: int
    reference_images: int
    neighbors: int
    frechet: float
    kernel: float
    kernel_spread: float
    precision: float
    recall: float
    density: float
    coverage: float

    def to_json(self) -> dict[str, object]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def between(evaluator: str, found: Measured, real: Measured) -> Comparison:
    """Return the distances of two measured sets of images."""
    fewest = min(len(found.neighbors), len(real.neighbors))
    mine, theirs = found.neighbors[:fewest], real.neighbors[:fewest]
    kernel, spread = distances.kernel_distance(found.neighbors, real.neighbors)
    precision, recall, coverage = distances.precision_recall_coverage(mine, theirs)
    return Comparison(
        evaluator=evaluator,
        images=found.count,
        reference_images=real.count,
        neighbors=fewest,
        frechet=distances.frechet(found.gaussian, real.gaussian),
        kernel=kernel,
        kernel_spread=spread,
        precision=precision,
        recall=recall,
        density=distances.density(mine, theirs),
        coverage=coverage,
    )
