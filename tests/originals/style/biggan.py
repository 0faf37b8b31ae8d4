"""ajbrock's BigGAN and BigGAN-deep, and Hugging Face's port, in evaluation mode: keys and arithmetic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm


class Spectral(nn.Module):
    """A weight over its largest singular value, of which one power iteration is run from `u0` at each call."""

    def __init__(self, *shape: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.randn(shape[0])) if bias else None
        self.register_buffer("u0", torch.randn(1, shape[0]))
        self.register_buffer("sv0", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.weight.flatten(1)
        v = F.normalize(self.u0 @ matrix, eps=1e-12)
        u = F.normalize(v @ matrix.T, eps=1e-12)
        weight = self.weight / (v @ matrix.T @ u.T).squeeze()
        if weight.dim() == 2:
            return F.linear(x, weight, self.bias)
        return F.conv2d(x, weight, self.bias, padding=weight.shape[2] // 2)


def conv(a: int, b: int, kernel: int = 3, *, bias: bool = True) -> Spectral:
    return Spectral(b, a, kernel, kernel, bias=bias)


class ConditionalNorm(nn.Module):
    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.gain, self.bias = (Spectral(width, features, bias=False) for _ in range(2))
        self.register_buffer("stored_mean", torch.zeros(width))
        self.register_buffer("stored_var", torch.ones(width))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = F.batch_norm(x, self.stored_mean, self.stored_var, eps=1e-5)
        return x * (1 + self.gain(y))[:, :, None, None] + self.bias(y)[:, :, None, None]


class PlainNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("stored_mean", torch.zeros(width))
        self.register_buffer("stored_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.stored_mean, self.stored_var, self.gain, self.bias, eps=1e-5)


class GBlock(nn.Module):
    def __init__(self, a: int, b: int, features: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv_sc = conv(a, b), conv(b, b), conv(a, b, 1)
        self.bn1, self.bn2 = ConditionalNorm(a, features), ConditionalNorm(b, features)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv1(F.interpolate(F.relu(self.bn1(x, y)), scale_factor=2))
        h = self.conv2(F.relu(self.bn2(h, y)))
        out: Tensor = h + self.conv_sc(F.interpolate(x, scale_factor=2))
        return out


class DeepBlock(nn.Module):
    def __init__(self, a: int, b: int, features: int, up: bool) -> None:
        super().__init__()
        self.kept, self.up = b, up
        h = a // 4
        self.conv1, self.conv2, self.conv3, self.conv4 = conv(a, h, 1), conv(h, h), conv(h, h), conv(h, b, 1)
        self.bn1 = ConditionalNorm(a, features)
        self.bn2, self.bn3, self.bn4 = (ConditionalNorm(h, features) for _ in range(3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = F.relu(self.bn2(self.conv1(F.relu(self.bn1(x, y))), y))
        x = x[:, : self.kept]
        if self.up:
            h, x = F.interpolate(h, scale_factor=2), F.interpolate(x, scale_factor=2)
        h = self.conv3(F.relu(self.bn3(self.conv2(h), y)))
        out: Tensor = self.conv4(F.relu(self.bn4(h, y))) + x
        return out


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.theta, self.phi = (conv(width, width // 8, 1, bias=False) for _ in range(2))
        self.g, self.o = conv(width, width // 2, 1, bias=False), conv(width // 2, width, 1, bias=False)
        self.gamma = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        queries = self.theta(x).flatten(2)
        keys, values = (F.max_pool2d(f(x), 2).flatten(2) for f in (self.phi, self.g))
        share = torch.softmax(torch.einsum("ncq,nck->nqk", queries, keys), 2)
        mixed = torch.einsum("nck,nqk->ncq", values, share).reshape(len(x), -1, *x.shape[2:])
        out: Tensor = self.gamma * self.o(mixed) + x
        return out


class BigGAN(nn.Module):
    """chunk: the latents of a slot if z is hierarchical, else 0.  attention: the sizes at which it stands."""

    def __init__(
        self, ins: list[int], outs: list[int], nz: int, classes: int, shared: int, hier: bool, attention: list[int]
    ) -> None:
        super().__init__()
        self.chunk = nz // (len(ins) + 1) if hier else 0
        self.nz = self.chunk * (len(ins) + 1) if hier else nz
        self.shared = nn.Embedding(classes, shared)
        self.linear = Spectral(16 * ins[0], self.chunk or self.nz, bias=True)
        features = shared + self.chunk
        self.blocks = nn.ModuleList()
        for i, (a, b) in enumerate(zip(ins, outs, strict=True)):
            also = [Attention(b)] if 8 * 2**i in attention else []
            self.blocks.append(nn.ModuleList([GBlock(a, b, features), *also]))
        self.output_layer = nn.Sequential(PlainNorm(outs[-1]), nn.ReLU(), conv(outs[-1], 3))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        y = self.shared(label)
        ys = [y] * len(self.blocks)
        if self.chunk:
            z, *rest = torch.split(z, self.chunk, 1)
            ys = [torch.cat((y, part), 1) for part in rest]
        x = self.linear(z).reshape(len(z), -1, 4, 4)
        for stage, features in zip(self.blocks, ys, strict=True):
            for block in stage:
                x = block(x, features)
        return torch.tanh(self.output_layer(x))


class BigGANDeep(nn.Module):
    def __init__(
        self, ins: list[int], outs: list[int], nz: int, classes: int, shared: int, attention: list[int]
    ) -> None:
        super().__init__()
        self.nz = nz
        self.shared = nn.Embedding(classes, shared)
        self.linear = Spectral(16 * ins[0], nz + shared, bias=True)
        self.blocks = nn.ModuleList()
        for i, (a, b) in enumerate(zip(ins, outs, strict=True)):
            self.blocks.append(nn.ModuleList([DeepBlock(a, a, nz + shared, up=False)]))
            also = [Attention(b)] if 8 * 2**i in attention else []
            self.blocks.append(nn.ModuleList([DeepBlock(a, b, nz + shared, up=True), *also]))
        self.output_layer = nn.Sequential(PlainNorm(outs[-1]), nn.ReLU(), conv(outs[-1], 3))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        y = torch.cat((self.shared(label), z), 1)
        x = self.linear(y).reshape(len(z), -1, 4, 4)
        for stage in self.blocks:
            for block in stage:
                x = block(x, y)
        return torch.tanh(self.output_layer(x))


class TableNorm(nn.Module):
    """Hugging Face's norm: statistics for each of `rows` truncations from 0 to 1, and perhaps a condition."""

    def __init__(self, width: int, features: int, rows: int, eps: float) -> None:
        super().__init__()
        self.rows, self.eps, self.plain = rows, eps, features == 0
        self.register_buffer("running_means", torch.zeros(rows, width))
        self.register_buffer("running_vars", torch.ones(rows, width))
        if self.plain:
            self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        else:
            self.scale, self.offset = (spectral_norm(nn.Linear(features, width, bias=False)) for _ in range(2))

    def row(self, table: Tensor, truncation: float) -> Tensor:
        """Between two rows, the nearer one counts less."""
        place = truncation / (1 / (self.rows - 1))
        low = int(place)
        return table[low] if place == low else table[low] * (place - low) + table[low + 1] * (low + 1 - place)

    def forward(self, x: Tensor, y: Tensor, truncation: float) -> Tensor:
        mean, var = (self.row(table, truncation) for table in (self.running_means, self.running_vars))
        x = F.batch_norm(x, mean, var, eps=self.eps)
        gain, bias = (self.weight[None], self.bias[None]) if self.plain else (1 + self.scale(y), self.offset(y))
        return x * gain[:, :, None, None] + bias[:, :, None, None]


class PortBlock(nn.Module):
    def __init__(self, a: int, b: int, features: int, rows: int, eps: float, *, up: bool) -> None:
        super().__init__()
        self.kept, self.up, h = b, up, a // 4
        for i, (c, d, kernel) in enumerate(((a, h, 1), (h, h, 3), (h, h, 3), (h, b, 1))):
            self.add_module(f"bn_{i}", TableNorm(c, features, rows, eps))
            self.add_module(f"conv_{i}", spectral_norm(nn.Conv2d(c, d, kernel, padding=kernel // 2)))

    def forward(self, x: Tensor, y: Tensor, truncation: float) -> Tensor:
        h = x
        for i in range(4):
            h = F.relu(getattr(self, f"bn_{i}")(h, y, truncation))
            if self.up and i == 1:
                h = F.interpolate(h, scale_factor=2)
            h = getattr(self, f"conv_{i}")(h)
        x = x[:, : self.kept]
        return h + (F.interpolate(x, scale_factor=2) if self.up else x)


class PortAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = {"theta": (width, width // 8), "phi": (width, width // 8), "g": (width, width // 2)}
        for name, (a, b) in {**sizes, "o_conv": (width // 2, width)}.items():
            self.add_module(f"snconv1x1_{name}", spectral_norm(nn.Conv2d(a, b, 1, bias=False)))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, *_: object) -> Tensor:
        part = {name: getattr(self, f"snconv1x1_{name}") for name in ("theta", "phi", "g", "o_conv")}
        keys, values = (F.max_pool2d(part[name](x), 2).flatten(2) for name in ("phi", "g"))
        share = torch.softmax(part["theta"](x).flatten(2).transpose(1, 2) @ keys, 2)
        mixed = (values @ share.transpose(1, 2)).reshape(len(x), -1, *x.shape[2:])
        out: Tensor = self.gamma * part["o_conv"](mixed) + x
        return out


class PortGenerator(nn.Module):
    """width: of the narrowest layers.  layers: (whether it doubles the size, width in, width out) as multiples."""

    def __init__(self, z_dim: int, width: int, layers: list[tuple[bool, int, int]], attention: int, rows: int) -> None:
        super().__init__()
        self.gen_z = spectral_norm(nn.Linear(2 * z_dim, 16 * 16 * width))
        blocks: list[nn.Module] = [PortBlock(a * width, b * width, 2 * z_dim, rows, 1e-4, up=up) for up, a, b in layers]
        blocks.insert(attention, PortAttention(layers[attention][1] * width))
        self.layers = nn.ModuleList(blocks)
        self.bn = TableNorm(width, 0, rows, 1e-4)
        self.conv_to_rgb = spectral_norm(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, condition: Tensor, truncation: float) -> Tensor:
        x = self.gen_z(condition).reshape(len(condition), 4, 4, -1).movedim(-1, 1)
        for layer in self.layers:
            x = layer(x, condition, truncation)
        return torch.tanh(self.conv_to_rgb(F.relu(self.bn(x, condition, truncation)))[:, :3])


class Port(nn.Module):
    """Hugging Face's BigGAN; z is given before truncation."""

    def __init__(
        self, z_dim: int, classes: int, width: int, layers: list[tuple[bool, int, int]], attention: int, rows: int = 51
    ) -> None:
        super().__init__()
        self.nz = z_dim
        self.embeddings = nn.Linear(classes, z_dim, bias=False)
        self.generator = PortGenerator(z_dim, width, layers, attention, rows)

    def forward(self, z: Tensor, label: Tensor, truncation: float = 1.0) -> Tensor:
        features = self.embeddings(F.one_hot(label, self.embeddings.in_features).float())
        out: Tensor = self.generator(torch.cat((truncation * z, features), 1), truncation)
        return out


def random_biggan(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random values for each parameter and buffer; `u0` is no singular vector, and `sv0` no singular value."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, t in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith(("weight_u", "weight_v")):
                continue
            value = torch.randn(t.shape, generator=draw)
            if name.endswith(("stored_var", "running_vars")):
                value = torch.rand(t.shape, generator=draw) + 0.5
            elif name.endswith((".0.gain", "gamma", "generator.bn.weight")):
                value = 0.4 + 0.1 * value
            elif name.endswith(("bias", "stored_mean", "running_means")):
                value *= 0.3
            t.copy_(value)
    return model.eval()


def trained_port(nz: int, classes: int, *sizes: Any) -> nn.Module:
    """A port with random values and one power iteration of its spectral norms, which comes with a training step."""
    torch.manual_seed(3)
    model = random_biggan(Port(nz, classes, *sizes))
    with torch.no_grad():
        model.train()(torch.randn(2, nz), torch.tensor([0, 1]))
    return model.eval()
