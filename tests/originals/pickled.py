"""Classes that training scripts leave, pickled, beside the weights; nothing that reads a file may import them."""

from __future__ import annotations

from typing import Any


class BaseConfig:
    """facebookresearch/pytorch_GAN_zoo's configuration record."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class HingeLoss:
    """torchgan pickles its loss objects."""

    def __init__(self, reduction: str) -> None:
        self.reduction = reduction
