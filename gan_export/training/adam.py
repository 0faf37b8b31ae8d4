"""Adam with torch's own fused kernel.

The classes of torch.optim import torch's compiler on first use, which takes some seconds at every start; the functional
form that they call does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.optim.adam import adam as fused_adam

from gan_export.training.step_scalar import StepScalar

EPS = 1e-8


class Adam:
    """Adam (Kingma & Ba 2015) over a fixed list of weights; with `decay` AdamW (Loshchilov & Hutter 2019).

    `rate` may change between steps.
    """

    def __init__(
        self, weights: Iterable[torch.nn.Parameter], rate: StepScalar, betas: tuple[float, float], decay: float = 0.0
    ) -> None:
        self.rate = rate
        self._decay = decay
        self._betas = betas
        self._weights: Sequence[torch.nn.Parameter] = list(weights)
        self.means = [torch.zeros_like(w) for w in self._weights]  # moving average of the gradient
        self.squares = [torch.zeros_like(w) for w in self._weights]  # moving average of its square
        self._steps = [torch.zeros((), dtype=torch.float32, device=w.device) for w in self._weights]

    def forget_gradients(self) -> None:
        for w in self._weights:
            w.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights once; every weight must have a gradient."""
        if self._decay:
            shrunk: Any = 1.0 - self.rate.read * self._decay
            torch._foreach_mul_(list(self._weights), shrunk)
        gradients = [w.grad for w in self._weights if w.grad is not None]
        fused_adam(
            list(self._weights), gradients, self.means, self.squares, [], self._steps, fused=True, amsgrad=False,
            beta1=self._betas[0], beta2=self._betas[1], lr=self.rate.read, weight_decay=0.0, eps=EPS, maximize=False,
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return everything except the weights and the settings, as tensors."""
        return {"means": self.means, "squares": self.squares, "steps": self._steps}

    def restore(self, kept: dict[str, Any]) -> None:
        """Restore a `state` of the same weights, from any device."""
        for name, tensors in self.state().items():
            for mine, its in zip(tensors, kept[name], strict=True):
                mine.copy_(its)
