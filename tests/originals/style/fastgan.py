"""FastGAN's generator, in the original's form and in Projected GAN's: keys and arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

GATES = {64: 4, 128: 8, 256: 16, 512: 32}


class Glu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return a * torch.sigmoid(b)


class Noise(nn.Module):
    """Adds planes of `given`, or nothing if there are none left."""

    given: Iterator[Tensor] = iter(())

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        plane = next(Noise.given, None)
        return x if plane is None else x + self.weight * plane


def _conv(a: int, b: int, k: int, padding: int = 0, bias: bool = False) -> nn.Module:
    return spectral_norm(nn.Conv2d(a, b, k, padding=padding, bias=bias))


def _up(a: int, b: int, twice: bool) -> nn.Sequential:
    up = [nn.Upsample(scale_factor=2), _conv(a, 2 * b, 3, 1)]
    if not twice:
        return nn.Sequential(*up, nn.BatchNorm2d(2 * b), Glu())
    again = [_conv(b, 2 * b, 3, 1), Noise(), nn.BatchNorm2d(2 * b), Glu()]
    return nn.Sequential(*up, Noise(), nn.BatchNorm2d(2 * b), Glu(), *again)


class Init(nn.Module):
    def __init__(self, nz: int, width: int) -> None:
        super().__init__()
        first = spectral_norm(nn.ConvTranspose2d(nz, 2 * width, 4, bias=False))
        self.init = nn.Sequential(first, nn.BatchNorm2d(2 * width), Glu())

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.init(z[:, :, None, None])
        return out


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class Gate(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.AdaptiveAvgPool2d(4), _conv(a, b, 4), Swish(), _conv(b, b, 1), nn.Sigmoid())

    def forward(self, small: Tensor, big: Tensor) -> Tensor:
        out: Tensor = big * self.main(small)
        return out


class LabelNorm(nn.Module):
    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.gain = spectral_norm(nn.Linear(features, width))
        self.bias = spectral_norm(nn.Linear(features, width))
        self.register_buffer("stored_mean", torch.zeros(width))
        self.register_buffer("stored_var", torch.ones(width))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        # stored_* are buffers
        x = nn.functional.batch_norm(x, self.stored_mean, self.stored_var, training=self.training)  # type: ignore[arg-type]
        out: Tensor = x * (1 + self.gain(y))[:, :, None, None] + self.bias(y)[:, :, None, None]
        return out


class LabelBlock(nn.Module):
    """Projected GAN's block if there are classes; one strength of noise for both convolutions."""

    def __init__(self, a: int, b: int, features: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(a, 2 * b, 3, 1), _conv(b, 2 * b, 3, 1)
        self.bn1, self.bn2 = LabelNorm(2 * b, features), LabelNorm(2 * b, features)
        self.up, self.act, self.noise = nn.Upsample(scale_factor=2), Glu(), Noise()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.act(self.bn1(self.noise(self.conv1(self.up(x))), y))
        out: Tensor = self.act(self.bn2(self.noise(self.conv2(x)), y))
        return out


class Generator(nn.Module):
    """Channels by side, from 4 up.  size: of the image, with blocks above it that don't run if there are any."""

    def __init__(
        self, nz: int, widths: dict[int, int], size: int, *, projected: bool = False, classes: int = 0
    ) -> None:
        super().__init__()
        self.size, self.projected = size, projected
        self.init = Init(nz, widths[4])
        sides = sorted(widths)[1:]
        for side in sides:
            twice = projected or side in (8, 32, 128, 512)
            sizes = widths[side // 2], widths[side]
            setattr(self, f"feat_{side}", LabelBlock(*sizes, nz) if classes else _up(*sizes, twice))
            if side in GATES:
                setattr(self, f"se_{side}", Gate(widths[GATES[side]], widths[side]))
        if not projected and size > 128:
            self.to_128 = _conv(widths[128], 3, 1)
        self.to_big = _conv(widths[size], 3, 3, 1, bias=projected)
        if classes:
            self.embed = nn.Embedding(classes, nz)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        label_features = () if label is None else (self.embed(label),)
        if self.projected:
            z = z * torch.rsqrt((z * z).mean(1, keepdim=True) + 1e-8)
        x, side = self.init(z), 4
        maps = {4: x}
        while side < self.size:
            side *= 2
            x = getattr(self, f"feat_{side}")(x, *label_features)
            if side in GATES:
                x = getattr(self, f"se_{side}")(maps[GATES[side]], x)
            maps[side] = x
        out: Tensor = self.to_big(x)
        return torch.tanh(out) if self.size == 1024 and not self.projected else out


def trained_a_little(
    nz: int, widths: dict[int, int], size: int, *, projected: bool = False, classes: int = 0
) -> Generator:
    """Random parameters and statistics, the same in each call; spectral norm's vectors from a pass in training mode."""
    torch.manual_seed(0)
    model = Generator(nz, widths, size, projected=projected, classes=classes)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Noise):
                module.weight.normal_(0, 0.3)
        model.train()(torch.randn(4, nz), *([torch.arange(4) % classes] if classes else []))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_var is not None
                module.weight.normal_(1, 0.3)
                module.bias.normal_(0, 0.3)
                module.running_var.add_(torch.rand(module.running_var.shape))
            elif isinstance(module, LabelNorm):
                module.stored_var.add_(torch.rand(module.stored_var.shape))  # type: ignore[operator]
    return model.eval()


class Snapshot(nn.Module):
    """The whole module as Projected GAN pickles it: its layers are in `synthesis`."""

    def __init__(self, synthesis: Generator) -> None:
        super().__init__()
        self.synthesis = synthesis
