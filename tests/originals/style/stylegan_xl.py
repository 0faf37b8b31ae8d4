"""StyleGAN-XL: StyleGAN3's layers, with a label's pretrained features, and a mean of w for each class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.originals.style import stylegan3
from tests.originals.style.filters import unit
from tests.originals.style.nvlabs import FullyConnectedLayer


class MappingNetwork(nn.Module):
    """features: of a label's row in the table, which is there without labels too."""

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_ws: int, features: int) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws, self.num_layers = z_dim, c_dim, w_dim, num_ws, 2
        self.embed = nn.Embedding(max(c_dim, 3), features)
        self.embed_proj = FullyConnectedLayer(features, z_dim, "lrelu") if c_dim else None
        self.fc0 = FullyConnectedLayer(2 * z_dim if c_dim else z_dim, w_dim, "lrelu", 0.01)
        self.fc1 = FullyConnectedLayer(w_dim, w_dim, "lrelu", 0.01)
        self.register_buffer("w_avg", torch.zeros([c_dim, w_dim] if c_dim else [w_dim]))

    def forward(self, z: Tensor, label: Tensor | None, psi: float, cutoff: int | None) -> Tensor:
        x, mean = unit(z), self.w_avg
        if self.embed_proj is not None and label is not None:
            x, mean = torch.cat([x, unit(self.embed_proj(self.embed(label)))], 1), mean[label][:, None]
        ws = self.fc1(self.fc0(x))[:, None].repeat(1, self.num_ws, 1)
        ws[:, :cutoff] = mean + psi * (ws[:, :cutoff] - mean)
        return ws


class Generator(stylegan3.Generator):
    def __init__(self, z_dim: int, c_dim: int, w_dim: int, rates: list[int], widths: list[int], features: int) -> None:
        super().__init__(z_dim, 0, w_dim, rates, widths)
        self.c_dim = c_dim
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, features)  # type: ignore[assignment]


class SuperresGenerator(Generator):
    """Enlarged from a generator whose last layers were cut off: there is no layer of the first one's number."""

    def __init__(self, *sizes: int | list[int], cut: int) -> None:
        super().__init__(*sizes)  # type: ignore[arg-type]
        names = self.synthesis.layer_names
        layers = [(name, getattr(self.synthesis, name)) for name in names]
        for i, (name, layer) in enumerate(layers):
            if i >= cut:
                delattr(self.synthesis, name)
                names[i] = name.replace(f"L{i}_", f"L{i + 1}_")
                self.synthesis.add_module(names[i], layer)
