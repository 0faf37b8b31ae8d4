"""GFPGAN's clean version, restated: an encoder and decoder of the image, whose maps condition a StyleGAN2."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def _resize(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class Block(nn.Module):
    def __init__(self, inside: int, out: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.conv1, self.conv2 = nn.Conv2d(inside, inside, 3, padding=1), nn.Conv2d(inside, out, 3, padding=1)
        self.skip = nn.Conv2d(inside, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        made = _leaky(self.conv2(_resize(_leaky(self.conv1(x)), self.factor)))
        out: Tensor = made + self.skip(_resize(x, self.factor))
        return out


class Modulated(nn.Module):
    """A convolution whose weight is computed for each image."""

    def __init__(self, inside: int, out: int, kernel: int, code: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(code, inside)
        self.weight = nn.Parameter(torch.randn(1, out, inside, kernel, kernel) / (inside * kernel**2) ** 0.5)

    def forward(self, x: Tensor, code: Tensor, *, demodulate: bool) -> Tensor:
        weight = self.weight * self.modulation(code)[:, None, :, None, None]
        if demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        padding = weight.shape[-1] // 2
        return torch.cat([F.conv2d(x[i : i + 1], weight[i], padding=padding) for i in range(len(x))])


class Styled(nn.Module):
    def __init__(self, inside: int, out: int, code: int) -> None:
        super().__init__()
        self.modulated_conv = Modulated(inside, out, 3, code)
        self.weight, self.bias = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1, out, 1, 1))

    def forward(self, x: Tensor, code: Tensor, noise: Tensor) -> Tensor:
        return _leaky(self.modulated_conv(x, code, demodulate=True) * 2**0.5 + self.weight * noise + self.bias)


class ToRgb(nn.Module):
    def __init__(self, inside: int, code: int) -> None:
        super().__init__()
        self.modulated_conv = Modulated(inside, 3, 1, code)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        out: Tensor = self.modulated_conv(x, code, demodulate=False) + self.bias
        return out


class Constant(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, width, 4, 4))


class Decoder(nn.Module):
    """The StyleGAN2.  widths: of its stages, from 4x4 up."""

    def __init__(self, widths: list[int], code: int, depth: int) -> None:
        super().__init__()
        mapping = [layer for _ in range(depth) for layer in (nn.Linear(code, code), nn.LeakyReLU(0.2))]
        self.style_mlp = nn.Sequential(nn.Identity(), *mapping)
        self.constant_input = Constant(widths[0])
        self.style_conv1, self.to_rgb1 = Styled(widths[0], widths[0], code), ToRgb(widths[0], code)
        pairs = list(itertools.pairwise(widths))
        self.style_convs = nn.ModuleList(Styled(i, b, code) for a, b in pairs for i in (a, b))
        self.to_rgbs = nn.ModuleList(ToRgb(b, code) for _, b in pairs)
        self.noises = nn.Module()
        for i in range(2 * len(widths) - 1):
            side = 1 << ((i + 5) // 2)
            self.noises.register_buffer(f"noise{i}", torch.randn(1, 1, side, side))

    def forward(self, ws: Tensor, conditions: list[tuple[Tensor, Tensor]], noise: Iterator[Tensor]) -> Tensor:
        x = self.style_conv1(self.constant_input.weight.repeat(len(ws), 1, 1, 1), ws[:, 0], next(noise))
        image: Tensor = self.to_rgb1(x, ws[:, 1])
        for k, (scale, shift) in enumerate(conditions):
            x = self.style_convs[2 * k](_resize(x, 2), ws[:, 2 * k + 1], next(noise))
            kept = x.shape[1] - scale.shape[1]
            x = torch.cat([x[:, :kept], x[:, kept:] * scale + shift], 1)
            x = self.style_convs[2 * k + 1](x, ws[:, 2 * k + 2], next(noise))
            image = self.to_rgbs[k](x, ws[:, 2 * k + 3]) + _resize(image, 2)
        return image


class Gfpgan(nn.Module):
    """widths: of the decoder from 4x4 up; the encoder has half.  half: half of the channels are conditioned."""

    def __init__(self, widths: list[int], code: int, *, half: bool = True, each: bool = True, depth: int = 2) -> None:
        super().__init__()
        inner = [w // 2 for w in widths]
        stages, self.code = len(widths) - 1, code
        self.rows = 2 * stages + 2
        self.conv_body_first = nn.Conv2d(3, inner[-1], 1)
        falling = inner[::-1]
        self.conv_body_down = nn.ModuleList(Block(a, b, 0.5) for a, b in itertools.pairwise(falling))
        self.final_conv = nn.Conv2d(inner[0], inner[0], 3, padding=1)
        self.conv_body_up = nn.ModuleList(Block(a, b, 2) for a, b in itertools.pairwise(inner))
        self.toRGB = nn.ModuleList(nn.Conv2d(w, 3, 1) for w in inner[1:])
        self.final_linear = nn.Linear(inner[0] * 16, code * (self.rows if each else 1))
        self.stylegan_decoder = Decoder(widths, code, depth)
        for part in ("condition_scale", "condition_shift"):
            made = [
                nn.Sequential(
                    nn.Conv2d(w, w, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(w, w if half else 2 * w, 3, padding=1)
                )
                for w in inner[1:]
            ]  # fmt: skip
            setattr(self, part, nn.ModuleList(made))

    def forward(self, x: Tensor, noise: list[Tensor] | None = None) -> Tensor:
        feature, skips = _leaky(self.conv_body_first(x)), []
        for block in self.conv_body_down:
            feature = block(feature)
            skips.append(feature)
        feature = _leaky(self.final_conv(feature))
        ws = self.final_linear(feature.flatten(1)).view(len(x), -1, self.code).expand(-1, self.rows, -1)
        conditions = []
        for i, block in enumerate(self.conv_body_up):
            feature = block(feature + skips[-1 - i])
            conditions.append((self.condition_scale[i](feature), self.condition_shift[i](feature)))
        stored = [buffer for _, buffer in self.stylegan_decoder.noises.named_buffers()]
        out: Tensor = self.stylegan_decoder(ws, conditions, iter(stored if noise is None else noise))
        return out


def random_gfpgan(widths: list[int], code: int, **settings: bool) -> Gfpgan:
    """Every parameter and buffer random; images of about the range [-1, 1]."""
    torch.manual_seed(0)
    model = Gfpgan(widths, code, **settings).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or parameter.numel() == 1:
                parameter.normal_(1.0 if "modulation" in name else 0.1, 0.3)
    return model
