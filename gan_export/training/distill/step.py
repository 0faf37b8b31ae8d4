"""One step: the discriminator, if there is one, then the student, on the same latents as its teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_export.training import losses
from gan_export.training.distill.state import State

READINGS = ("loss", "pixel", "features", "adversarial", "loss_d")


def step(state: State) -> Tensor:
    """Make the updates for the next batch; return READINGS as a float32 (5,) tensor on the device.

    loss is the weighted sum of the next three, which are unweighted; what the run doesn't use is 0.
    """
    recipe = state.recipe
    _set_rates(state)
    feeds = state.batch()
    image = state.spec.outputs[0]
    kept = (image, *(() if state.features is None else state.features.kept))
    with torch.no_grad():
        wanted = state.teacher(feeds, kept)
    made = state.student(feeds, kept)
    pixel_loss = F.l1_loss if recipe.loss.pixel_kind == "l1" else F.mse_loss
    pixel = pixel_loss(made[image], wanted[image])
    whole = recipe.loss.pixel * pixel
    nothing = torch.zeros((), device=state.device)
    features, adversarial, loss_d = nothing, nothing, nothing
    if state.features is not None:
        features = state.features.distance(made, wanted)
        whole = whole + recipe.loss.features * features
    if state.judge is not None:
        labels = next((feeds[port.name] for port in state.spec.signature.inputs_of("label")), None)
        loss_d = _move_judge(state, made[image].detach(), wanted[image], labels)
        adversarial = _adversarial(state, made[image], wanted[image], labels)
        whole = whole + recipe.loss.adversarial * adversarial
    state.optimizer.forget_gradients()
    whole.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    if state.judge is not None:
        state.judge.requires_grad_(True)
    if state.average is not None:
        decay = min(recipe.ema.decay, (1 + state.step) / (10 + state.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(state.average.parameters()), list(state.student.parameters()), 1 - decay)
    return torch.stack([v.detach() for v in (whole, pixel, features, adversarial, loss_d)])


def _move_judge(state: State, made: Tensor, wanted: Tensor, labels: Tensor | None) -> Tensor:
    judge, loss = state.judge, losses.by_name(state.recipe.loss.kind)
    assert judge is not None
    assert state.optimizer_d is not None
    both = judge(torch.cat((made, wanted)), None if labels is None else labels.repeat(2))
    value = loss.discriminator(*both.chunk(2))
    state.optimizer_d.forget_gradients()
    value.backward()  # type: ignore[no-untyped-call]
    state.optimizer_d.step()
    return value


def _adversarial(state: State, made: Tensor, wanted: Tensor, labels: Tensor | None) -> Tensor:
    judge, loss = state.judge, losses.by_name(state.recipe.loss.kind)
    assert judge is not None
    judge.requires_grad_(False)
    opposite = None
    if loss.paired:
        with torch.no_grad():
            opposite = judge(wanted, labels)
    return loss.generator(judge(made, labels), opposite)


def _set_rates(state: State) -> None:
    settings, progress = state.recipe.optimizer, state.step / state.recipe.train.steps
    factor = 1.0 if progress < settings.decay_from else (1 - progress) / (1 - settings.decay_from)
    state.optimizer.rate.set(settings.student.lr * factor)
    if state.optimizer_d is not None:
        state.optimizer_d.rate.set(settings.discriminator.lr * factor)
