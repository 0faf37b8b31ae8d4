"""The public names with which a package describes its own family of generators.

`gan_export.register_architecture` takes the `Family`; docs/adding-an-architecture.md builds one.
"""

from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.conv_stack import ConvStage, add_conv_stack
from gan_export.recognize.draft import Family
from gan_export.recognize.state_dict import DoesNotFitError, Module

__all__ = ["ConvStage", "DoesNotFitError", "Family", "Module", "SpecBuilder", "add_conv_stack"]
