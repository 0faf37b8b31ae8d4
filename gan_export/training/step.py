"""One step of adversarial training: the discriminator, then the generator.

`train/classic.py` holds the plain reference.  What it computes and nobody reads is left out here: the
discriminator's turn needs no gradient of the generator, and the generator's turn none of the
discriminator's weights.  Every update is the reference's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from gan_export.training import losses
from gan_export.training.state import State

READINGS = ("loss_d", "loss_g", "score_generated", "score_real")


def step(state: State, real: Tensor) -> Tensor:
    """Both updates for one batch of real pictures (N, C, S, S) in [-1, 1] on the state's device.

    Draws 2 x (N, nz) latents from state.noise, in that order.  Gives READINGS as a float32 (4,) tensor on
    the device, without waiting for it.
    """
    recipe = state.recipe
    loss = losses.by_name(recipe.loss.kind)
    g, d = state.generator, state.discriminator
    count = len(real)

    with torch.no_grad(), _autocast(state):
        generated = g(_latents(state, count))
    loss_d, score_generated, score_real = _discriminator_loss(state, loss, generated, real)
    state.optimiser_d.forget_gradients()
    loss_d.backward()  # type: ignore[no-untyped-call]
    state.optimiser_d.step()

    d.requires_grad_(False)
    with _autocast(state):
        scores = d(g(_latents(state, count)))
    loss_g = loss.generator(_full(scores))
    state.optimiser_g.forget_gradients()
    loss_g.backward()  # type: ignore[no-untyped-call]
    state.optimiser_g.step()
    d.requires_grad_(True)

    if state.average is not None:
        _follow(state.average, g, min(recipe.ema.decay, (1 + state.step) / (10 + state.step)))
    return torch.stack((loss_d.detach(), loss_g.detach(), score_generated, score_real))


def _discriminator_loss(
    state: State, loss: losses.Loss, generated: Tensor, real: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    d = state.discriminator
    with _autocast(state):
        if state.recipe.loss.one_call:
            on_generated, on_real = _full(d(torch.cat((generated, real)))).chunk(2)
        else:
            on_generated, on_real = _full(d(generated)), _full(d(real))
    with torch.no_grad():
        opinions = loss.score(on_generated), loss.score(on_real)
    return (loss.discriminator(on_generated, on_real), *opinions)


def _latents(state: State, count: int) -> Tensor:
    return torch.randn(count, state.recipe.generator.nz, 1, 1, generator=state.noise, device=state.device)


def _full(scores: Tensor) -> Tensor:
    """Losses are taken in full precision; binary cross-entropy is not safe below it."""
    return scores.float() if scores.dtype == torch.bfloat16 else scores


def _autocast(state: State) -> AbstractContextManager[object]:
    if state.recipe.compute.autocast == "off":
        return nullcontext()
    return torch.autocast(state.device.type, dtype=torch.bfloat16)


@torch.no_grad()
def _follow(average: torch.nn.Module, net: torch.nn.Module, decay: float) -> None:
    """The decay is smaller in the first steps, so that the starting weights are forgotten soon."""
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1.0 - decay)
