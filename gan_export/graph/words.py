"""Define the literal types that specs and flags share."""

from typing import Literal

Prior = Literal["normal", "uniform"]
ActivationKind = Literal["relu", "leaky_relu", "tanh", "sigmoid"]
UpsampleMode = Literal["nearest", "bilinear"]
InterpolationMode = Literal["nearest", "linear"]  # of signals and volumes
PadMode = Literal["reflect", "replicate", "zeros"]
Output = Literal["tanh", "sigmoid", "none"]
NormReading = Literal["image", "stored"]
DropoutReading = Literal["off", "seed"]
Input = Literal["z", "w", "ws"]
Part = Literal["mapping", "synthesis"]
Noise = Literal["const", "none", "seed"]
LabelOrder = Literal["after", "before"]
FirstActivation = Literal["on", "off"]
Slope = float | Literal["elu"]  # of LeakyReLU for negative inputs, 0 for ReLU; or ELU
