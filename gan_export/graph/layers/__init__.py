"""Define each kind of layer as data: its settings, parameters, output shape and floating-point operations."""

from __future__ import annotations

from gan_export.graph.layers.alias_free import FilterDown, FilterUp, FourierFeatures
from gan_export.graph.layers.attention import Attend, MaxPool
from gan_export.graph.layers.base import Layer, Shape
from gan_export.graph.layers.clipping import Clamp, PReLU
from gan_export.graph.layers.convolution import Conv, ConvTranspose
from gan_export.graph.layers.convolution_nd import ConvNd, ConvTransposeNd, UpsampleNd
from gan_export.graph.layers.dense import Embedding, Linear, OneHot
from gan_export.graph.layers.dropout import Dropout
from gan_export.graph.layers.elementwise import Activation, Add, Multiply, Scale
from gan_export.graph.layers.elu import Elu
from gan_export.graph.layers.grouped import GroupedConv, GroupedConvTranspose
from gan_export.graph.layers.instance_norm import InstanceNorm
from gan_export.graph.layers.layout import Concat, Crop, Reshape, Upsample
from gan_export.graph.layers.linear_attention import (
    ChannelNorm,
    ContextPool,
    Gelu,
    LinearAttend,
    LocalAttend,
)
from gan_export.graph.layers.norm import Affine, BatchNorm
from gan_export.graph.layers.padding import Pad
from gan_export.graph.layers.pooling import AvgPool
from gan_export.graph.layers.resampling import BlurDown, BlurUp, PixelShuffle, PixelUnshuffle
from gan_export.graph.layers.style import (
    AddNoise,
    AddPlane,
    ChannelBias,
    Channels,
    Demodulate,
    ModulatedConstant,
    PixelNorm,
    Row,
    Rows,
    ScaleChannels,
    ShiftChannels,
    Truncate,
)

__all__ = [
    "LAYERS", "Activation", "Add", "AddNoise", "AddPlane", "Affine", "Attend", "AvgPool", "BatchNorm", "BlurDown",
    "BlurUp", "ChannelBias", "ChannelNorm", "Channels", "Clamp", "Concat", "ContextPool", "Conv", "ConvNd",
    "ConvTranspose", "ConvTransposeNd", "Crop", "Demodulate", "Dropout", "Elu", "Embedding", "FilterDown",
    "FilterUp", "FourierFeatures", "Gelu", "GroupedConv", "GroupedConvTranspose", "InstanceNorm", "Layer", "Linear",
    "LinearAttend", "LocalAttend", "MaxPool", "ModulatedConstant", "Multiply", "OneHot", "PReLU", "Pad",
    "PixelNorm", "PixelShuffle", "PixelUnshuffle", "Reshape", "Row", "Rows", "Scale", "ScaleChannels", "Shape",
    "ShiftChannels", "Truncate", "Upsample", "UpsampleNd",
]  # fmt: skip

LAYERS: tuple[type[Layer], ...] = (
    Linear,
    ConvTranspose,
    Conv,
    BatchNorm,
    Affine,
    Activation,
    Upsample,
    Add,
    Multiply,
    Concat,
    Reshape,
    Crop,
    Scale,
    Embedding,
    OneHot,
    InstanceNorm,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    BlurDown,
    BlurUp,
    PReLU,
    Clamp,
    Dropout,
    Elu,
    GroupedConv,
    GroupedConvTranspose,
    AddNoise,
    AddPlane,
    ChannelBias,
    Channels,
    Demodulate,
    ModulatedConstant,
    PixelNorm,
    Row,
    Rows,
    ScaleChannels,
    ShiftChannels,
    Truncate,
    MaxPool,
    AvgPool,
    Attend,
    FourierFeatures,
    FilterUp,
    FilterDown,
    ConvTransposeNd,
    ConvNd,
    UpsampleNd,
    LinearAttend,
    LocalAttend,
    ContextPool,
    ChannelNorm,
    Gelu,
)
