"""Test the layers of signals and volumes against PyTorch's own modules."""

import numpy as np
import pytest
import torch
from torch import nn

from gan_export.errors import GanExportError
from gan_export.graph.layers import (
    Activation,
    BatchNorm,
    ConvNd,
    ConvTranspose,
    ConvTransposeNd,
    Reshape,
    UpsampleNd,
)  # fmt: skip
from gan_export.graph.lower import lower
from gan_export.graph.spec import Chain, GeneratorSpec, flops
from gan_export.graph.torch_module import build_module
from gan_export.graph.views import LatentImage

VOLUME = nn.Sequential(
    nn.ConvTranspose3d(5, 4, (2, 3, 4), bias=False), nn.BatchNorm3d(4), nn.ReLU(),
    nn.ConvTranspose3d(4, 3, 4, 2, 1, bias=False), nn.BatchNorm3d(3), nn.ReLU(),
    nn.Upsample(scale_factor=2, mode="trilinear"), nn.Conv3d(3, 2, 3, (1, 2, 1), 1), nn.Sigmoid(),
)  # fmt: skip
SIGNAL = nn.Sequential(
    nn.ConvTranspose1d(5, 4, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(),
    nn.ConvTranspose1d(4, 3, 25, 4, 11, 1), nn.BatchNorm1d(3), nn.ReLU(),
    nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv1d(3, 1, 7, 1, 3), nn.Tanh(),
)  # fmt: skip


def spec_of(sides: tuple[int, ...], shape: tuple[int, ...], interpolation: str, end: str) -> GeneratorSpec:
    """Write down the layers of VOLUME or SIGNAL, whose first kernel has `sides`."""
    axes = len(sides)

    def each(number: int) -> tuple[int, ...]:
        return (number,) * axes

    second = (each(4), each(2), each(1), each(0)) if axes == 3 else (each(25), each(4), each(11), each(1))
    third = (each(3), (1, 2, 1), each(1)) if axes == 3 else (each(7), each(1), each(3))
    c = Chain()
    c.add(Reshape, "seed", shape=(5, *each(1)))
    c.add(
        ConvTransposeNd, "convt0", in_channels=5, out_channels=4, kernel=sides, stride=each(1), padding=each(0),
        output_padding=each(0), bias=False,
    )  # fmt: skip
    c.add(BatchNorm, "bn0", channels=4)
    c.add(Activation, "relu0", kind="relu")
    kernel, stride, padding, extra = second
    c.add(
        ConvTransposeNd, "convt1", in_channels=4, out_channels=3, kernel=kernel, stride=stride, padding=padding,
        output_padding=extra, bias=axes == 1,
    )  # fmt: skip
    c.add(BatchNorm, "bn1", channels=3)
    c.add(Activation, "relu1", kind="relu")
    c.add(UpsampleNd, "up", factor=each(2), mode=interpolation)
    kernel, stride, padding = third
    c.add(ConvNd, "conv2", in_channels=3, out_channels=shape[0], kernel=kernel, stride=stride, padding=padding)
    c.add(Activation, "end", kind=end)
    return GeneratorSpec.of_latent("by-hand", 5, "normal", shape, (0.0, 1.0), tuple(c))


@pytest.mark.parametrize(
    ("net", "sides", "shape", "interpolation", "end", "kind"),
    [
        (VOLUME, (2, 3, 4), (2, 8, 6, 16), "linear", "sigmoid", "volume"),
        (SIGNAL, (4,), (1, 32), "nearest", "tanh", "audio"),
    ],
)
def test_layers_compute_what_torch_computes(net, sides, shape, interpolation, end, kind):
    torch.manual_seed(0)
    for module in net:
        if hasattr(module, "running_mean"):
            module.running_var.uniform_(0.5, 2)
            for array in (module.running_mean, module.weight.data, module.bias.data):
                array.normal_()
    net.eval()
    spec = spec_of(sides, shape, interpolation, end)
    names = {"0": "convt0", "1": "bn0", "3": "convt1", "4": "bn1", "7": "conv2"}
    arrays = {
        f"{names[k.partition('.')[0]]}.{k.partition('.')[2]}": v.numpy()
        for k, v in net.state_dict().items() if "num_batches" not in k
    }  # fmt: skip
    z = torch.randn(3, 5)
    with torch.no_grad():
        wanted = net(z.reshape(3, 5, *(1 for _ in sides)))
    assert torch.equal(build_module(spec, arrays)(z), wanted)
    assert tuple(wanted.shape[1:]) == shape
    port = spec.signature.outputs[0]
    assert (port.name, port.kind, port.shape) == (kind, kind, shape)
    assert LatentImage.of(spec.signature, "a test").image == shape
    assert GeneratorSpec.from_json(spec.to_json()) == spec
    folded, their = lower(spec, arrays)
    assert not [la for la in folded.layers if isinstance(la, BatchNorm)]
    torch.testing.assert_close(build_module(folded, their)(z), wanted, atol=1e-5, rtol=0)
    made = build_module(spec, arrays, "bytes")(z)
    assert made.dtype == torch.uint8
    assert tuple(made.shape) == (3, *shape[1:], shape[0])


def test_an_affine_behind_two_readers_keeps_its_rank():
    c = Chain()
    c.add(Reshape, "seed", shape=(2, 2, 2, 2))
    c.add(BatchNorm, "bn", channels=2)
    spec = GeneratorSpec.of_latent("by-hand", 16, "normal", (2, 2, 2, 2), None, tuple(c))
    rng = np.random.default_rng(0)
    arrays = {
        f"bn.{p}": rng.uniform(0.5, 2, 2).astype(np.float32) for p in ("weight", "bias", "running_mean", "running_var")
    }
    z = torch.randn(2, 16)
    torch.testing.assert_close(build_module(*lower(spec, arrays))(z), build_module(spec, arrays)(z))


def test_operations_are_counted_per_tap():
    spec = spec_of((2, 3, 4), (2, 8, 6, 16), "linear", "sigmoid")
    counted = flops(spec)
    assert counted["convt0"] == 2 * 5 * 4 * 24
    assert counted["conv2"] == (2 * 8 * 6 * 16) * (2 * 3 * 27 + 1)
    assert counted["up"] == 15 * 3 * 8 * 12 * 16


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kernel": (4, 4), "stride": (2, 2), "padding": (1, 1), "output_padding": (0, 0)}, "a kernel of (4, 4)"),
        ({"stride": (2, 2)}, "another number of dimensions"),
        ({"output_padding": (2, 0, 0)}, "bad output padding"),
        ({"in_channels": 4}, "takes (C, D, H, W) with 4 channels, is given (5, 1, 1, 1)"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    settings = {
        "in_channels": 5, "out_channels": 4, "kernel": (4, 4, 4), "stride": (1, 1, 1), "padding": (0, 0, 0),
        "output_padding": (0, 0, 0), **changed,
    }  # fmt: skip
    c = Chain()
    c.add(Reshape, "seed", shape=(5, 1, 1, 1))
    c.add(ConvTransposeNd, "convt0", **settings)
    with pytest.raises(GanExportError) as refused:
        GeneratorSpec.of_latent("by-hand", 5, "normal", (4, 4, 4, 4), None, tuple(c))
    assert message in str(refused.value)


def test_an_image_layer_takes_no_volume():
    c = Chain()
    c.add(Reshape, "seed", shape=(5, 1, 1, 1))
    c.add(ConvTranspose, "convt0", in_channels=5, out_channels=4, kernel=4)
    with pytest.raises(GanExportError, match="takes 5 channels, is given"):
        GeneratorSpec.of_latent("by-hand", 5, "normal", (4, 4, 4, 4), None, tuple(c))
