"""The two networks of a recipe as torch modules, with the classic key names at any width and size.

`model.0` is the first layer of both, so a state_dict of either loads strictly into the plain nn.Sequential
that the classic code builds.  A discriminator with spectral norm has the keys of torch's parametrizations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gan_export.training import recipe
from gan_export.training.thin import FromOneChannel, ToOneChannel

INIT_STD = 0.02  # standard deviation of the N(0, 0.02) initialization (Radford et al. 2015)


@dataclass(frozen=True, slots=True)
class Kinds:
    """The classes of the layers of images or of volumes; `end` is the generator's last activation."""

    conv: type[nn.Conv2d | nn.Conv3d]
    conv_transpose: type[nn.ConvTranspose2d | nn.ConvTranspose3d]
    batch_norm: type[nn.BatchNorm2d | nn.BatchNorm3d]
    end: type[nn.Tanh | nn.Sigmoid]


KINDS = {
    2: Kinds(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.Tanh),
    3: Kinds(nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.Sigmoid),
}


class Generator(nn.Module):
    """z (N, nz, 1, 1), and with classes labels (N,) -> images (N, C, S, S) in [-1, 1], S = 4 x 2^len(widths).

    With dims 3: volumes (N, C, S, S, S) in [0, 1].
    The label embedding is concatenated to z, a form that `gan_export.recognize` reads without further settings.
    """

    def __init__(
        self, nz: int, widths: tuple[int, ...], channels: int, classes: int = 0, embedding: int = 0, *, dims: int = 2
    ) -> None:
        super().__init__()
        of = KINDS[dims]
        taken = nz + embedding if classes else nz
        layers: list[nn.Module] = [of.conv_transpose(taken, widths[0], 4, 1, 0)]
        for before, after in zip(widths, (*widths[1:], channels), strict=True):
            up = ToOneChannel if dims == 3 and after == 1 else of.conv_transpose
            layers += [of.batch_norm(before), nn.ReLU(), up(before, after, 4, 2, 1)]
        self.model = nn.Sequential(*layers, of.end())
        self.pixel = (1,) * dims
        self.embed = nn.Embedding(classes, embedding) if classes else None

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embed is not None:
            z = torch.cat((z, self.embed(labels)[:, :, None, None]), 1)
        out: Tensor = self.model(z.reshape(z.shape[:2] + self.pixel))
        return out


class Discriminator(nn.Module):
    """Images (N, C, S, S), and with classes labels (N,) -> scores (N,), which are logits.

    A label enters by projection: its embedding times the features is added to the score (Miyato & Koyama 2018).
    With settings.names, an auxiliary classifier uses the same features.
    """

    def __init__(self, settings: recipe.Discriminator, channels: int, classes: int = 0, dims: int = 2) -> None:
        super().__init__()
        of = KINDS[dims]
        layers: list[nn.Module] = []
        before = channels
        for i, after in enumerate(settings.widths):
            conv = FromOneChannel if dims == 3 and before == 1 else of.conv
            layers.append(_spectral(conv(before, after, 4, 2, 1), settings.spectral))
            if settings.norm == "batch" and i > 0:
                layers.append(of.batch_norm(after))
            layers.append(nn.LeakyReLU(settings.slope))
            before = after
        layers.append(_spectral(of.conv(before, 1, 4, 1, 0), settings.spectral))
        self.model = nn.Sequential(*layers)
        self.embed = _spectral(nn.Embedding(classes, before), settings.spectral) if classes else None
        self.names = of.conv(before, settings.names + 1, 4, 1, 0) if settings.names else None

    def forward(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.judged(pictures, labels)[:, 0]

    def judged(self, pictures: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the score (N, 1); with settings.names also logits of the classes and "generated", (N, names + 2)."""
        features = self.model[:-1](pictures)
        scores: Tensor = self.model[-1](features).flatten(1)
        if self.embed is not None:
            scores = scores + (self.embed(labels) * features.flatten(2).sum(2)).sum(1, keepdim=True)
        return scores if self.names is None else torch.cat((scores, self.names(features).flatten(1)), 1)


def build(r: recipe.Recipe) -> tuple[Generator, Discriminator]:
    """Return both networks with initial weights, a function of train.seed and train.init; on the CPU, in train mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(r.train.seed)
        g = Generator(
            r.generator.nz, r.generator.widths, r.data.channels, r.generator.classes, r.generator.embedding,
            dims=r.data.dims,
        )  # fmt: skip
        d = Discriminator(r.discriminator, r.data.channels, r.generator.classes, r.data.dims)
        if r.train.init == "normal":
            for net in (g, d):
                net.apply(_normal)
    return g, d


def _spectral(layer: nn.Module, on: bool) -> nn.Module:
    return parametrizations.spectral_norm(layer) if on else layer


def _normal(layer: nn.Module) -> None:
    """Initialize convolutions with N(0, 0.02), BatchNorm with N(1, 0.02); biases are torch's or zero."""
    with torch.no_grad():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d)):
            weight = layer.weight.clone().normal_(0.0, INIT_STD)
            layer.weight = weight if hasattr(layer, "parametrizations") else nn.Parameter(weight)
        elif isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
            layer.weight.normal_(1.0, INIT_STD)
            layer.bias.zero_()
