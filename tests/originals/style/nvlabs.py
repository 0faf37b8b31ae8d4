"""NVlabs' StyleGAN2 (stylegan2-ada-pytorch, and stylegan3's `--cfg=stylegan2`): classes, attributes and arithmetic."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.originals.style.filters import leaky, modulated, resampled, unit

Architecture = Literal["skip", "resnet", "orig"]
Noise = Literal["const", "none"]


class FullyConnectedLayer(nn.Module):
    def __init__(self, a: int, b: int, activation: str = "linear", lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(b, a) / lr_multiplier)
        self.bias = nn.Parameter(torch.zeros(b))
        self.weight_gain = lr_multiplier / a**0.5
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
        return leaky(y) if self.activation == "lrelu" else y


class Conv2dLayer(nn.Module):
    """The resnet's skip: 1x1 without bias, at twice the size."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.activation, self.up, self.down, self.padding, self.conv_clamp = "linear", 2, 1, 0, None
        self.act_gain, self.weight_gain, self.bias = 1.0, 1 / a**0.5, None
        self.register_buffer("resample_filter", torch.ones(4, 4) / 16)
        self.weight = nn.Parameter(torch.randn(b, a, 1, 1))

    def forward(self, x: Tensor, gain: float) -> Tensor:
        wide = resampled(x, self.resample_filter * 4, 2, 2, 1)
        return F.conv2d(wide, self.weight * self.weight_gain) * gain


class SynthesisLayer(nn.Module):
    def __init__(self, a: int, b: int, w_dim: int, r: int, up: int, clamp: float | None, use_noise: bool) -> None:
        super().__init__()
        self.resolution, self.up, self.use_noise, self.activation, self.conv_clamp = r, up, use_noise, "lrelu", clamp
        self.padding, self.act_gain = 1, 2**0.5
        self.register_buffer("resample_filter", torch.ones(4, 4) / 16)
        self.affine = FullyConnectedLayer(w_dim, a)
        self.weight = nn.Parameter(torch.randn(b, a, 3, 3))
        if use_noise:
            self.register_buffer("noise_const", torch.randn(r, r))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(b))

    def forward(self, x: Tensor, w: Tensor, noise: Noise | Tensor, gain: float = 1.0) -> Tensor:
        y = modulated(x, self.weight, self.affine(w), self.resample_filter * 4 if self.up == 2 else None)
        if self.use_noise and not isinstance(noise, str):
            y = y + noise * self.noise_strength
        elif self.use_noise and noise == "const":
            y = y + self.noise_const * self.noise_strength
        y = leaky(y + self.bias[:, None, None], self.act_gain * gain)
        return y if self.conv_clamp is None else y.clamp(-self.conv_clamp * gain, self.conv_clamp * gain)


class ToRGBLayer(nn.Module):
    def __init__(self, a: int, b: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.conv_clamp = clamp
        self.affine = FullyConnectedLayer(w_dim, a)
        self.weight = nn.Parameter(torch.randn(b, a, 1, 1))
        self.bias = nn.Parameter(torch.zeros(b))
        self.weight_gain = 1 / a**0.5

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = modulated(x, self.weight, self.affine(w) * self.weight_gain, None, demodulate=False)
        y = y + self.bias[:, None, None]
        return y if self.conv_clamp is None else y.clamp(-self.conv_clamp, self.conv_clamp)


class SynthesisBlock(nn.Module):
    def __init__(
        self, a: int, b: int, w_dim: int, r: int, channels: int, last: bool, architecture: Architecture,
        clamp: float | None, use_noise: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_channels, self.w_dim, self.resolution, self.img_channels = a, w_dim, r, channels
        self.is_last, self.architecture, self.use_fp16, self.channels_last = last, architecture, False, False
        self.register_buffer("resample_filter", torch.ones(4, 4) / 16)
        self.num_conv, self.num_torgb = 1 + (a != 0), int(last or architecture == "skip")
        if a == 0:
            self.const = nn.Parameter(torch.randn(b, r, r))
        else:
            self.conv0 = SynthesisLayer(a, b, w_dim, r, 2, clamp, use_noise)
        self.conv1 = SynthesisLayer(b, b, w_dim, r, 1, clamp, use_noise)
        if self.num_torgb:
            self.torgb = ToRGBLayer(b, channels, w_dim, clamp)
        if a and architecture == "resnet":
            self.skip = Conv2dLayer(a, b)

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, noises: list[Noise | Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        if x is None:
            x = self.conv1(self.const.expand(len(ws), *self.const.shape), ws[:, 0], noises[0])
        elif self.architecture == "resnet":
            short = self.skip(x, 0.5**0.5)
            x = short + self.conv1(self.conv0(x, ws[:, 0], noises[0]), ws[:, 1], noises[1], 0.5**0.5)
        else:
            x = self.conv1(self.conv0(x, ws[:, 0], noises[0]), ws[:, 1], noises[1])
        if image is not None:
            image = resampled(image, self.resample_filter * 4, 2, 2, 1)
        if self.num_torgb:
            own = self.torgb(x, ws[:, self.num_conv])
            image = own if image is None else image + own
        return x, image


class SynthesisNetwork(nn.Module):
    def __init__(
        self, w_dim: int, resolution: int, channels: int, widths: list[int], architecture: Architecture,
        clamp: float | None, use_noise: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = w_dim, resolution, channels
        self.block_resolutions = [4 * 2**i for i in range(len(widths))]
        self.img_resolution_log2 = resolution.bit_length() - 1
        assert self.block_resolutions[-1] == resolution
        for i, (r, width) in enumerate(zip(self.block_resolutions, widths, strict=True)):
            before = widths[i - 1] if i else 0
            last = r == resolution
            block = SynthesisBlock(before, width, w_dim, r, channels, last, architecture, clamp, use_noise)
            self.add_module(f"b{r}", block)
        self.num_ws = 2 * len(widths)

    def forward(self, ws: Tensor, noise: Noise | list[Tensor] = "const") -> Tensor:
        x = image = None
        at = 0
        for r in self.block_resolutions:
            block = getattr(self, f"b{r}")
            own = [noise] * 2 if isinstance(noise, str) else noise[at : at + block.num_conv]
            x, image = block(x, image, ws[:, at:], own)
            at += block.num_conv
        assert image is not None
        return image


class MappingNetwork(nn.Module):
    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_ws: int, layers: int, lr: float) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws, self.num_layers = z_dim, c_dim, w_dim, num_ws, layers
        self.w_avg_beta = 0.995
        if c_dim:
            self.embed = FullyConnectedLayer(c_dim, w_dim)
        widths = [z_dim + (w_dim if c_dim else 0)] + [w_dim] * layers
        for i in range(layers):
            self.add_module(f"fc{i}", FullyConnectedLayer(widths[i], widths[i + 1], "lrelu", lr))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, label: Tensor | None, psi: float, cutoff: int | None) -> Tensor:
        x = unit(z)
        if label is not None:
            x = torch.cat((x, unit(self.embed(F.one_hot(label, self.c_dim).to(x.dtype)))), 1)
        for i in range(self.num_layers):
            x = getattr(self, f"fc{i}")(x)
        ws = x[:, None].repeat(1, self.num_ws, 1)
        cutoff = self.num_ws if cutoff is None else cutoff
        ws[:, :cutoff] = self.w_avg + psi * (ws[:, :cutoff] - self.w_avg)
        return ws


class Generator(nn.Module):
    def __init__(
        self, z_dim: int, c_dim: int, w_dim: int, widths: list[int], channels: int = 3, layers: int = 2,
        architecture: Architecture = "skip", clamp: float | None = 256, use_noise: bool = True, lr: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        resolution = 2 ** (len(widths) + 1)
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = resolution, channels
        self.synthesis = SynthesisNetwork(w_dim, resolution, channels, widths, architecture, clamp, use_noise)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, layers, lr)

    def forward(
        self, z: Tensor, label: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None,
        noise: Noise | list[Tensor] = "const",
    ) -> Tensor:  # fmt: skip
        out: Tensor = self.synthesis(self.mapping(z, label, psi, cutoff), noise)
        return out


def random_everything(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random values for each parameter and buffer, of a size that leaves the images alive."""
    draw = torch.Generator().manual_seed(seed)

    def normal(t: Tensor) -> Tensor:
        return torch.randn(t.shape, generator=draw)

    with torch.no_grad():
        for name, t in [*model.named_parameters(), *model.named_buffers()]:
            last = name.rpartition(".")[2]
            if last in ("resample_filter", "kernel", "Kernel"):
                taps = torch.rand(t.shape, generator=draw) + 0.2
                t.copy_(taps / taps.sum() * (4 if last == "kernel" else 1))
            elif last in ("up_filter", "down_filter"):
                taps = torch.rand(t.shape, generator=draw) + 0.2
                t.copy_(taps / taps.sum())
            elif last == "magnitude_ema":
                t.copy_(0.5 + torch.rand(t.shape, generator=draw))
            elif last == "transform":
                t.copy_(torch.eye(3) + 0.2 * normal(t) * torch.tensor([[1.0], [1], [0]]))
            elif name.endswith(("affine.bias", "modulation.bias")):
                t.copy_(1 + 0.3 * normal(t))
            elif ".fc" in name or name.startswith("style."):
                t.copy_(normal(t) * 100 * (1 if last == "weight" else 0.3))
            elif last in ("bias", "Bias", "w_avg", "noise_strength") or name.endswith("noise.weight"):
                t.copy_(0.3 * normal(t) + (0.2 if last == "noise_strength" else 0.0))
            elif ".Layer." in name or "LinearLayer" in name:
                t.copy_(normal(t) * (1.5 / t[0].numel()) ** 0.5)
            else:
                t.copy_(normal(t))
    return model.eval()
