"""What the restatements share: the entry of the registry, random weights, and how a file comes to be."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gan_export.recognize import ReadOptions

TRANSPOSED = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
CONVS = nn.Conv1d | nn.Conv2d | nn.Conv3d | TRANSPOSED

Container = Callable[[nn.Module], Any]


def bare(model: nn.Module) -> Any:
    return model.state_dict()


def optimizer_state(model: nn.Module) -> dict[str, Any]:
    """Adam's state after one step, as training scripts save it beside the weights."""
    twin = [p.detach().clone().requires_grad_() for p in model.parameters()]
    adam = torch.optim.Adam(twin, lr=2e-4, betas=(0.5, 0.999))
    for p in twin:
        p.grad = torch.zeros_like(p)
    adam.step()
    return adam.state_dict()


@dataclass(frozen=True)
class Original:
    """One row of public code, restated from what is known of it: keys, shapes, activations.

    build(width): the generator, evaluation mode, weights as torch initialises them; `width` is the row's own and
        `other_width` another that its code allows
    critic: its discriminator, where that has keys of its own; None where it isn't restated
    container: what the row's scripts give to torch.save
    latent: what the model's forward takes: (N, nz, 1, 1) or (N, nz)
    image: of the row's own width, (C, H, W), (C, D, H, W) or (C, L)
    overrides: the flags without which the file can't tell
    to_range: what brings the model's values to the export's: a sigmoid's [0, 1] to [-1, 1], a flat row to a picture
    """

    name: str
    build: Callable[[int], nn.Module]
    width: int
    other_width: int
    nz: int
    image: tuple[int, ...]
    latent: Literal["map", "vector"] = "map"
    prior: Literal["normal", "uniform"] = "normal"
    overrides: ReadOptions = field(default_factory=ReadOptions)
    container: Container = bare
    critic: Callable[[], nn.Module] | None = None
    classes: int = 0
    range: tuple[float, float] | None = (-1.0, 1.0)
    to_range: Callable[[Tensor], Tensor] = lambda x: x
    suffix: str = ".pth"
    zipped: bool = True
    cuda: bool = False

    def latents(self, count: int, seed: int = 0) -> Tensor:
        """(count, nz) or (count, nz, 1, 1), from the row's own prior."""
        draw = torch.Generator().manual_seed(seed)
        z = torch.rand(count, self.nz, generator=draw) * 2 - 1
        if self.prior == "normal":
            z = torch.randn(count, self.nz, generator=draw)
        return z[:, :, None, None] if self.latent == "map" else z

    def labels(self, count: int) -> Tensor:
        return torch.arange(count) % max(self.classes, 1)

    def draw(self, model: nn.Module, z: Tensor) -> Tensor:
        """(N, C, H, W) in the export's range, by the original's own forward."""
        with torch.no_grad():
            x: Tensor = model(z, self.labels(len(z))) if self.classes else model(z)
            return self.to_range(x).reshape(len(z), -1, *self.image[1:])

    def model(self, width: int | None = None, seed: int = 0) -> nn.Module:
        """Built, with random weights and random statistics, in evaluation mode."""
        return randomized(self.build(self.width if width is None else width), seed)

    def save(self, model: nn.Module, path: Path) -> Path:
        """The file that the row's scripts leave at `path`."""
        if not self.cuda:
            torch.save(self.container(model), path, _use_new_zipfile_serialization=self.zipped)
            return path
        buffer = io.BytesIO()
        torch.save(self.container(model), buffer, _use_new_zipfile_serialization=False)
        path.write_bytes(cuda_tagged(buffer.getvalue()))
        return path


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights that keep signals alive through ReLUs, biases and BatchNorm statistics far from 0 and 1."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(t: Tensor, low: float, high: float) -> None:
        t.copy_(torch.rand(t.shape, generator=draw) * (high - low) + low)

    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, CONVS | nn.Linear):
                over = 2 ** (m.weight.dim() - 2)  # values that a transposed convolution of stride 2 adds up less
                fan = m.weight[0].numel() if not isinstance(m, TRANSPOSED) else m.weight[:, 0].numel() / over
                fan = max(fan, m.weight.shape[0] if isinstance(m, TRANSPOSED) else 1)
                m.weight.copy_(torch.randn(m.weight.shape, generator=draw) * (2.0 / fan) ** 0.5)
                if m.bias is not None:
                    uniform(m.bias, -0.2, 0.2)
            elif isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                uniform(m.weight, 0.5, 1.5)
                uniform(m.bias, -0.3, 0.3)
                uniform(m.running_mean, -0.4, 0.4)
                uniform(m.running_var, 0.4, 1.6)
                m.num_batches_tracked.fill_(7)  # of so short a training that they are no evidence
            elif isinstance(m, nn.Embedding):
                m.weight.copy_(torch.randn(m.weight.shape, generator=draw))
    return model.eval()


def cuda_tagged(legacy: bytes) -> bytes:
    """A file in torch's old format, whose storages name the first GPU as their place.

    The old pickles hold a storage's place as a length and a string, so the place can be put in as it stands.
    """
    return legacy.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")


class View(nn.Module):
    """Reshape inside a Sequential."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.shape)


class Named(nn.Module):
    """`net` under the attribute that the original has it under."""

    def __init__(self, name: str, net: nn.Module) -> None:
        super().__init__()
        self.attribute = name
        self.add_module(name, net)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = getattr(self, self.attribute)(x)
        return out


def unit_to_signed(x: Tensor) -> Tensor:
    """[0, 1] to [-1, 1]."""
    return x * 2 - 1
