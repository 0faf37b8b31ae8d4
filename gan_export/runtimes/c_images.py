"""Exported C source of a generator that takes an image, compiled here and called through ctypes."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_export._lib.escape import c, c_identifier
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
void draw_floats(const SYMBOL_weights *w, const float *input, int64_t n, float *out);
uint64_t weights_size(void);
void model_sizes(int64_t *out);

void draw_floats(const SYMBOL_weights *w, const float *input, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        SYMBOL_floats(w, input + i * LOUD_INPUT_CHANNELS * LOUD_INPUT_HEIGHT * LOUD_INPUT_WIDTH, workspace,
                      out + i * LOUD_CHANNELS * LOUD_HEIGHT * LOUD_WIDTH);
}

uint64_t weights_size(void)
{
    return sizeof(SYMBOL_weights);
}

void model_sizes(int64_t *out)
{
    out[0] = LOUD_INPUT_CHANNELS, out[1] = LOUD_INPUT_HEIGHT, out[2] = LOUD_INPUT_WIDTH;
    out[3] = LOUD_CHANNELS, out[4] = LOUD_HEIGHT, out[5] = LOUD_WIDTH;
}
"""
)


class CImageSession:
    """A compiled folder whose generator takes an image."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._of, self._signature = ImageToImage.of(manifest.signature, "a folder of exported C"), manifest.signature
        symbol = c_identifier(str(manifest.options.get("symbol", "generator")))
        embedded = bool(manifest.options.get("embed_weights", False))
        caller = _CALLER.replace("SYMBOL", symbol).replace("LOUD", c_identifier(str(symbol).upper()))
        self._library: Any = compiled(path, symbol, caller, embedded)
        self._library.draw_floats.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
        self._library.draw_floats.restype = self._library.model_sizes.restype = None
        self._info = info_of()
        sizes = (ctypes.c_int64 * 6)()
        self._library.model_sizes(sizes)
        self._shapes = Shapes({"input": tuple(sizes[:3])}, {"image": tuple(sizes[3:])}, 0)
        try:
            hold_to(self, self._signature)
        except GanExportError as e:
            raise GanExportError(f"{printable(str(path))}: {e}") from None
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
        (port,) = self._signature.inputs
        given = np.array(self._signature.check(feeds)[port.name], np.float32, order="C")
        return CImageBound(self, given, np.empty((len(given), *self._of.image), np.float32))

    def fill(self, given: Floats, out: Floats) -> None:
        """Fill `out` (N, C, H, W) with the results of checked images."""
        if self._library is None:
            raise GanExportError("this session is closed")
        self._library.draw_floats(self._weights, given.ctypes.data, len(given), out.ctypes.data)

    @property
    def output(self) -> str:
        """The name of the output."""
        return self._signature.outputs[0].name

    def close(self) -> None:
        self._library = None


class CImageBound:
    """Bound images, and an array that each call fills."""

    def __init__(self, session: CImageSession, given: Floats, out: npt.NDArray[np.float32]) -> None:
        self._session, self._given, self._out = session, given, out

    def __call__(self) -> None:
        self._session.fill(self._given, self._out)

    def outputs(self) -> Outputs:
        return {self._session.output: self._out.copy()}
