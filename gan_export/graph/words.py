"""The few words that specs and flags share."""

from typing import Literal

Prior = Literal["normal", "uniform"]
ActivationKind = Literal["relu", "leaky_relu", "tanh", "sigmoid"]
UpsampleMode = Literal["nearest", "bilinear"]
Output = Literal["tanh", "sigmoid", "none"]
LabelOrder = Literal["after", "before"]
