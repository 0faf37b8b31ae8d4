"""One step of adversarial training: the discriminator, then the generator.

`train/classic.py` is the plain reference.  Results that nothing uses are not computed here: the update of the
discriminator needs no gradients of the generator, and that of the generator none of the discriminator's weights.
Every update is that of the reference.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_export.training import augment, losses
from gan_export.training.recipe import Recipe
from gan_export.training.snapshot import State
from gan_export.training.step_scalar import StepScalar

READINGS = ("loss_d", "loss_g", "score_generated", "score_real")


def step(state: State, real: Tensor, labels: Tensor | None = None) -> Tensor:
    """Make the updates for one batch of real images (N, C, S, S) in [-1, 1] on the state's device, with labels (N,).

    With several processes, each gets its rows of the batch, all the same number.

    The discriminator is updated train.critic_steps times, each time with its part of the batch; then the generator.
    Generated images get the labels of the real ones in the same rows.  Takes (n, nz) latents from state.noise for each
    update, in that order.  Returns READINGS as a float32 (4,) tensor on the device, without waiting for it; loss_d, of
    the last update, and loss_g are those of recipe.loss.kind, without penalties and the auxiliary classifier.
    """
    update_schedules(state)
    return apply_step(state, real, labels)


class Kind(NamedTuple):
    """The properties that determine which kernels a step launches."""

    pictures: int
    owes_penalty: bool
    noisy: bool


def kind(state: State, pictures: int) -> Kind:
    """Return the kind of the next step with this number of images, after `update_schedules`."""
    return Kind(pictures, state.step % state.recipe.loss.penalty_every == 0, state.spread.value > 0)


def update_schedules(state: State) -> None:
    """Set the scalars that depend on the step number and the run's progress, before the step."""
    state.follow.set(1.0 - min(state.recipe.ema.decay, (1 + state.step) / (10 + state.step)))
    state.spread.set(augment.noise_at(state.recipe.augment, state.progress))


def apply_step(state: State, real: Tensor, labels: Tensor | None) -> Tensor:
    """Make the updates of `step` with the current scalars."""
    recipe = state.recipe
    loss = losses.of(recipe.loss)
    labels = labels if recipe.generator.classes or recipe.discriminator.names else None
    parts = min(recipe.train.critic_steps, len(real) // 2)  # BatchNorm needs two images
    label_parts = labels.tensor_split(parts) if labels is not None else (None,) * parts
    for some, their in zip(real.tensor_split(parts), label_parts, strict=True):
        of_discriminator = _move_discriminator(state, loss, some, their)
    loss_g = _move_generator(state, loss, some, their)
    if state.average is not None:
        _follow(state.average, state.generator, state.follow)
    loss_d, score_generated, score_real = of_discriminator
    return torch.stack((loss_d, loss_g, score_generated, score_real))


def _move_discriminator(
    state: State, loss: losses.Loss, real: Tensor, classes: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    d, settings = state.discriminator, state.recipe
    labels = classes if settings.generator.classes else None
    with torch.no_grad(), _autocast(state):
        generated = state.generator(_latents(state, len(real)), labels)
    generated, real = _seen(state, _full(generated)), _seen(state, real)
    with _autocast(state):
        judged_generated, judged_real = _judged(state, generated, real, labels)
    on_generated, on_real = judged_generated[:, 0], judged_real[:, 0]
    with torch.no_grad():
        opinions = loss.score(on_generated), loss.score(on_real)
    if flip := settings.loss.flip:
        chances = torch.rand(len(real) * state.group.size, generator=state.noise, device=state.device)
        swapped = state.group.rows(chances) < flip
        on_generated, on_real = (
            torch.where(swapped, on_real, on_generated),
            torch.where(swapped, on_generated, on_real),
        )
    value = whole = loss.discriminator(on_generated, on_real)
    if classes is not None and settings.discriminator.names:
        invented = torch.full_like(classes, settings.discriminator.names)
        named = F.cross_entropy(judged_real[:, 1:], classes) + F.cross_entropy(judged_generated[:, 1:], invented)
        whole = whole + named / 2
    if (penalty := _penalties(state, generated, real, labels)) is not None:
        whole = whole + penalty
    state.optimizer_d.forget_gradients()
    whole.backward()  # type: ignore[no-untyped-call]
    state.group.average(_gradients(d))
    state.optimizer_d.step()
    return value.detach(), *opinions


def _move_generator(state: State, loss: losses.Loss, real: Tensor, classes: Tensor | None) -> Tensor:
    g, d, settings = state.generator, state.discriminator, state.recipe
    labels = classes if settings.generator.classes else None
    d.requires_grad_(False)
    with _autocast(state):
        z = _latents(state, len(real))
        judged = _full(d.judged(_seen(state, _full(g(z, labels))), labels))
        beside = None
        if loss.paired:
            with torch.no_grad():
                beside = _full(d(_seen(state, real), labels))
    value = whole = loss.generator(judged[:, 0], beside)
    if settings.loss.naming:
        names = judged[:, 1:]
        whole = whole + settings.loss.naming * F.cross_entropy(names, _class(settings, z, names, labels))
    state.optimizer_g.forget_gradients()
    whole.backward()  # type: ignore[no-untyped-call]
    state.group.average(_gradients(g))
    state.optimizer_g.step()
    d.requires_grad_(True)
    return value.detach()


def _class(settings: Recipe, z: Tensor, names: Tensor, labels: Tensor | None) -> Tensor:
    """Return the auxiliary target class of each generated image, (N,).

    Without labels, it is the latent's cell, or else the most likely class (Zhou et al. 2018).
    """
    if labels is not None:
        return labels
    return (z[:, : settings.discriminator.names, 0, 0] if settings.loss.cells else names[:, :-1]).argmax(1)


def _judged(state: State, generated: Tensor, real: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the discriminator's outputs for both, (N, 1 + names) each, in one or two calls as in the recipe."""
    d, settings = state.discriminator, state.recipe.loss
    if not (settings.one_call or settings.mixed):
        return _full(d.judged(generated, labels)), _full(d.judged(real, labels))
    both = torch.cat((generated, real))
    their = None if labels is None else labels.repeat(2)
    if not settings.mixed:
        of_generated, of_real = _full(d.judged(both, their)).chunk(2)
        return of_generated, of_real
    order = torch.randperm(len(both), generator=state.noise, device=state.device)
    pieces = order.chunk(1 if settings.one_call else 2)
    mixed = [_full(d.judged(both[piece], None if their is None else their[piece])) for piece in pieces]
    of_generated, of_real = torch.cat(mixed)[order.argsort()].chunk(2)
    return of_generated, of_real


def _penalties(state: State, generated: Tensor, real: Tensor, labels: Tensor | None) -> Tensor | None:
    """Return the gradient penalties of this step in full precision, or None."""
    settings = state.recipe.loss
    if state.step % settings.penalty_every:
        return None
    found = []
    for gamma, pictures in ((settings.r1, real), (settings.r2, generated)):
        if gamma:
            found.append(gamma / 2 * _slopes(state, pictures, labels).square().sum(1).mean())
    if settings.gradient_penalty:
        whole = (len(real) * state.group.size, *(1,) * (real.dim() - 1))
        drawn = torch.rand(whole, generator=state.noise, device=state.device, dtype=real.dtype)
        at = state.group.rows(drawn)
        slopes = _slopes(state, real + at * (generated - real), labels)
        found.append(settings.gradient_penalty * (slopes.norm(2, dim=1) - 1).square().mean())
    return settings.penalty_every * torch.stack(found).sum() if found else None


def _slopes(state: State, pictures: Tensor, labels: Tensor | None) -> Tensor:
    """Return the gradient of each image's score with respect to its pixels, (N, C x S x S), differentiable."""
    pictures = _full(pictures.detach()).requires_grad_()
    total = state.discriminator(pictures, labels).sum()
    (slopes,) = torch.autograd.grad(total, pictures, create_graph=True)
    return slopes.flatten(1)


def _seen(state: State, pictures: Tensor) -> Tensor:
    return augment.augmented(pictures, state.recipe.augment, state.spread, state.noise, state.group)


def _latents(state: State, count: int) -> Tensor:
    whole = (count * state.group.size, state.recipe.generator.nz, 1, 1)
    return state.group.rows(torch.randn(whole, generator=state.noise, device=state.device))


def _gradients(net: torch.nn.Module) -> list[Tensor]:
    return [p.grad for p in net.parameters() if p.grad is not None]


def _full(x: Tensor) -> Tensor:
    """Compute losses in full precision, because binary cross-entropy needs it, and augmentations too, so that generated
    and real images are treated equally."""
    return x.float() if x.dtype == torch.bfloat16 else x


def _autocast(state: State) -> AbstractContextManager[object]:
    if state.recipe.compute.autocast == "off":
        return nullcontext()
    return torch.autocast(state.device.type, dtype=torch.bfloat16)


@torch.no_grad()
def _follow(average: torch.nn.Module, net: torch.nn.Module, share: StepScalar) -> None:
    """Update the moving average; its weight is larger in the first steps, so that the initial weights vanish soon."""
    kept: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(net.parameters())
    by = share.read
    if isinstance(by, Tensor):
        torch._foreach_add_(kept, torch._foreach_mul(torch._foreach_sub(new, kept), by))
    else:
        torch._foreach_lerp_(kept, new, by)
