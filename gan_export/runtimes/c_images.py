"""Exported C source of a generator that takes an image, compiled here and called through ctypes."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from typing import Any

import numpy as np

from gan_export import latents
from gan_export._lib import escape
from gan_export._lib.escape import Text, c, c_identifier
from gan_export.errors import GanExportError, printable
from gan_export.formats.manifest import Manifest
from gan_export.graph.signature import Feeds
from gan_export.graph.views import ImageToImage
from gan_export.runtimes.base import Floats, Outputs, SessionInfo, Shapes, hold_to
from gan_export.runtimes.c_compiler import compiled, info_of, weights_of

_CALLER = c(
    """
#include "SYMBOL.h"

static float workspace[LOUD_WORKSPACE];
void draw_floats(const SYMBOL_weights *w, const float *input, const float *dropout, int64_t n, float *out);
void draw_dropout(uint64_t seed, uint64_t index, float *out);
uint64_t weights_size(void);
void model_sizes(int64_t *out);

void draw_floats(const SYMBOL_weights *w, const float *input, const float *dropout, int64_t n, float *out)
{
    (void)dropout;
    for (int64_t i = 0; i < n; i++)
        SYMBOL_floats(w, input + i * LOUD_INPUT_CHANNELS * LOUD_INPUT_HEIGHT * LOUD_INPUT_WIDTH, EACH_DROPOUT workspace,
                      out + i * LOUD_CHANNELS * LOUD_HEIGHT * LOUD_WIDTH);
}

void draw_dropout(uint64_t seed, uint64_t index, float *out)
{
    DRAW_DROPOUT
}

uint64_t weights_size(void)
{
    return sizeof(SYMBOL_weights);
}

void model_sizes(int64_t *out)
{
    out[0] = LOUD_INPUT_CHANNELS, out[1] = LOUD_INPUT_HEIGHT, out[2] = LOUD_INPUT_WIDTH;
    out[3] = LOUD_CHANNELS, out[4] = LOUD_HEIGHT, out[5] = LOUD_WIDTH, out[6] = COUNT_DROPOUT;
}
"""
)


class CImageSession:
    """A compiled folder whose generator takes an image."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._of, self._signature = ImageToImage.of(manifest.signature, "a folder of exported C"), manifest.signature
        symbol = c_identifier(str(manifest.options.get("symbol", "generator")))
        embedded = bool(manifest.options.get("embed_weights", False))
        self._library: Any = _compiled(path, symbol, embedded, dropout=bool(self._of.dropouts))
        self._info = info_of()
        self._hold_to_source(path)
        self._weights, self._held = weights_of(self._library, path, symbol, embedded)

    @property
    def info(self) -> SessionInfo:
        return self._info

    def shapes(self) -> Shapes:
        return self._shapes

    def run(self, feeds: Feeds) -> Outputs:
        bound = self.bind(feeds)
        bound()
        return bound.outputs()

    def bind(self, feeds: Feeds) -> CImageBound:
        arrays = self._signature.check(feeds)
        given = np.array(arrays[self._signature.inputs[0].name], np.float32, order="C")
        numbers = [arrays[port.name].reshape(len(given), -1) for port in self._of.dropouts]
        dropout = (
            np.concatenate(numbers, axis=1, dtype=np.float32) if numbers else np.empty((len(given), 0), np.float32)
        )
        return CImageBound(self, given, dropout, np.empty((len(given), *self._of.image), np.float32))

    def fill(self, given: Floats, dropout: Floats, out: Floats) -> None:
        """Fill `out` (N, C, H, W) with the results of checked images; dropout: (N, numbers)."""
        if self._library is None:
            raise GanExportError("this session is closed")
        addresses = (given.ctypes.data, dropout.ctypes.data)
        self._library.draw_floats(self._weights, *addresses, len(given), out.ctypes.data)

    @property
    def output(self) -> str:
        """The name of the output."""
        return self._signature.outputs[0].name

    def close(self) -> None:
        self._library = None

    def _hold_to_source(self, path: Path) -> None:
        """Raise GanExportError unless the source has the sizes that the manifest states, and the law's numbers."""
        sizes = (ctypes.c_int64 * 7)()
        self._library.model_sizes(sizes)
        dropouts = {port.name: port.dims({}) for port in self._of.dropouts}
        self._shapes = Shapes({"input": tuple(sizes[:3]), **dropouts}, {"image": tuple(sizes[3:6])}, 0)
        stated = sum(math.prod(shape) for shape in dropouts.values())
        try:
            hold_to(self, self._signature)
            if sizes[6] != stated:
                raise GanExportError(
                    f"the file states {stated} numbers of dropouts, its model has {sizes[6]}; export it again"
                )
            self._check_dropout(stated)
        except GanExportError as e:
            raise GanExportError(f"{printable(str(path))}: {e}") from None

    def _check_dropout(self, count: int) -> None:
        """Raise GanExportError unless the source's numbers for dropouts equal the latent law's, bit by bit."""
        seed, index = 2**64 - 1, 2**64 - 2
        own = np.empty(count, np.float32)
        self._library.draw_dropout(seed, index, own.ctypes.data)
        at, indices = 0, np.array([index], np.uint64)
        for port in self._of.dropouts:
            size = math.prod(port.dims({}))
            law = latents.draw_table(seed, indices, size, latents.uniform_table(0.0, 1.0), port.stream or 0)[0]
            if not np.array_equal(own[at : at + size], law):
                raise GanExportError("the compiled code computes wrong random numbers; use another compiler")
            at += size


def _compiled(path: Path, symbol: Text[escape.C], embedded: bool, *, dropout: bool) -> ctypes.CDLL:
    """Return the library of a folder's source, with the types of its functions; dropout: whether it has any."""
    caller = _CALLER
    for mark, value in (
        ("EACH_DROPOUT", c("dropout + i * LOUD_DROPOUT,") if dropout else c("")),
        (
            "DRAW_DROPOUT",
            c("SYMBOL_dropout(seed, index, out);") if dropout else c("(void)seed, (void)index, (void)out;"),
        ),
        ("COUNT_DROPOUT", c("LOUD_DROPOUT") if dropout else c("0")),
        ("SYMBOL", symbol),
        ("LOUD", c_identifier(str(symbol).upper())),
    ):
        caller = caller.replace(mark, value)
    loaded = compiled(path, symbol, caller, embedded)
    pointer = ctypes.c_void_p
    loaded.draw_floats.argtypes = [pointer, pointer, pointer, ctypes.c_int64, pointer]
    loaded.draw_dropout.argtypes = [ctypes.c_uint64, ctypes.c_uint64, pointer]
    loaded.draw_floats.restype = loaded.draw_dropout.restype = loaded.model_sizes.restype = None
    return loaded


class CImageBound:
    """Bound images, and an array that each call fills."""

    def __init__(self, session: CImageSession, given: Floats, dropout: Floats, out: Floats) -> None:
        self._session, self._given, self._dropout, self._out = session, given, dropout, out

    def __call__(self) -> None:
        self._session.fill(self._given, self._dropout, self._out)

    def outputs(self) -> Outputs:
        return {self._session.output: self._out.copy()}
