"""The architectures, in the order in which they are tried: where two fit a file the first is its reading and the
other an alternative, and the generic one comes last."""

from __future__ import annotations

from gan_export._lib.registry import Registry
from gan_export.recognize.builder import Family
from gan_export.recognize.families import (
    blocks,
    caogang,
    chain,
    coursera,
    dcgan,
    gan_collections,
    gan_zoo,
    mimicry,
    mlp,
    numbered,
    projected,
    resize_conv,
    studiogan,
    torchgan,
    udacity,
    wassersteingan,
    znxlwm,
)

ARCHS: Registry[Family] = Registry(
    "architecture",
    (
        dcgan.FAMILY,
        numbered.FAMILY,
        wassersteingan.FAMILY,
        gan_zoo.FAMILY,
        coursera.FAMILY,
        torchgan.FAMILY,
        blocks.FAMILY,
        projected.FAMILY,
        udacity.FAMILY,
        studiogan.FAMILY,
        znxlwm.FAMILY,
        caogang.FAMILY,
        resize_conv.FAMILY,
        mimicry.FAMILY,
        gan_collections.FAMILY,
        mlp.FAMILY,
        chain.FAMILY,
    ),
)
