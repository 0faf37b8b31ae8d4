"""Exported C source, compiled here into a library of its own and called through ctypes.

It contains nothing of the engine: verification runs the same code as a user's compiler makes from the files.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_export import latents
from gan_export._lib import escape
from gan_export._lib.escape import Text, c, c_identifier
from gan_export.errors import GanExportError, printable
from gan_export.formats import manifest as manifests
from gan_export.graph.signature import Feeds
from gan_export.graph.views import LatentImage, takes_image
from gan_export.runtimes.base import (
    AVAILABLE,
    Availability,
    Floats,
    Labels,
    Outputs,
    SessionInfo,
    Shape,
    Shapes,
    hold_to,
    require_available,
)
from gan_export.runtimes.c_compiler import compiled, compiler, info_of, weights_of
from gan_export.runtimes.c_images import CImageSession

_SIDES = {1: ("LENGTH",), 2: ("HEIGHT", "WIDTH"), 3: ("DEPTH", "HEIGHT", "WIDTH")}  # constants of SYMBOL.h
_MISSING = "no C compiler was found; install gcc or clang, or name one in CC"
# The functions that ctypes calls; a user's own code looks like this.
_CALLER = c(
    """
#include "SYMBOL.h"

static float workspace[LOUD_WORKSPACE];
void draw_floats(const SYMBOL_weights *w, const float *z, const int64_t *labels, int64_t n, float *out);
void draw_bytes(const SYMBOL_weights *w, uint64_t seed, uint64_t start, const int64_t *labels, int64_t n,
                unsigned char *out);
void draw_latents(uint64_t seed, uint64_t start, int64_t n, float *out);
uint64_t weights_size(void);
void model_sizes(int64_t *out);

void draw_floats(const SYMBOL_weights *w, const float *z, const int64_t *labels, int64_t n, float *out)
{
    (void)labels;
    for (int64_t i = 0; i < n; i++)
        SYMBOL_floats(w, z + i * LOUD_LATENT, FLOATS_LABEL workspace,
                      out + i * LOUD_CHANNELS * (PIXELS));
}

void draw_bytes(const SYMBOL_weights *w, uint64_t seed, uint64_t start, const int64_t *labels, int64_t n,
                unsigned char *out)
{
    (void)labels;
    for (int64_t i = 0; i < n; i++) {
        float z[LOUD_LATENT];
        SYMBOL_latent(seed, start + (uint64_t)i, z);
        SYMBOL_bytes(w, z, BYTES_LABEL workspace, out + i * LOUD_CHANNELS * (PIXELS));
    }
}

void draw_latents(uint64_t seed, uint64_t start, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) SYMBOL_latent(seed, start + (uint64_t)i, out + i * LOUD_LATENT);
}

uint64_t weights_size(void)
{
    return sizeof(SYMBOL_weights);
}

void model_sizes(int64_t *out)
{
    const int64_t sizes[] = {LOUD_LATENT, COUNT_LABELS, LOUD_CHANNELS, SIDES};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) out[i] = sizes[i];
}
"""
)


@dataclass(frozen=True, slots=True)
class CRuntime:
    """Exported C source, compiled by this machine's compiler."""

    name: str = "c"
    title: str = "plain C"
    format: str = "c"
    devices: tuple[str, ...] = ("cpu",)

    def availability(self, device: str = "cpu") -> Availability:
        if device != "cpu":
            return Availability(False, "C source runs on the CPU only; use --device cpu")
        return AVAILABLE if compiler() else Availability(False, _MISSING)

    def load(self, path: Path, *, device: str = "cpu", threads: int | None = None) -> CSession | CImageSession:
        """Compile and load a folder; `threads` is ignored, because the source uses one thread."""
        require_available(self, device)
        manifest = manifests.read_manifest(path, "c") if manifests.detect_format(path) == "c" else None
        if manifest is None:
            raise GanExportError(
                f"{printable(str(path))} is not a folder of exported C; make one with gan-export c FILE"
            )
        if takes_image(manifest.signature):
            return CImageSession(path, manifest)
        return CSession(path, manifest)


class CSession:
    """A compiled folder."""

    def __init__(self, path: Path, manifest: manifests.Manifest) -> None:
        of = LatentImage.of(manifest.signature, "a folder of exported C")
        self._of, self._signature = of, manifest.signature
        self._made = manifest.signature.outputs[0].name
        self._symbol = c_identifier(str(manifest.options.get("symbol", "generator")))
        embedded = bool(manifest.options.get("embed_weights", False))
        self._library: Any = _compiled(path, self._symbol, of, embedded)
        self._info = info_of()
        self._hold_to_source(path)
        self._weights, self._held = weights_of(self._library, path, self._symbol, embedded)
        self._check_latents(path)

    @property
    def info(self) -> SessionInfo:
        return self._info

    def shapes(self) -> Shapes:
        return self._shapes

    def run(self, feeds: Feeds) -> Outputs:
        bound = self.bind(feeds)
        bound()
        return bound.outputs()

    def bind(self, feeds: Feeds) -> CBound:
        arrays = self._signature.check(feeds)
        return CBound(self, arrays["z"].copy(), arrays.get("label"))

    def fill(self, z: Floats, labels: Labels | None, out: Floats) -> None:
        """Fill `out` (N, C, ...) with the images of checked inputs."""
        at = None if labels is None else labels.ctypes.data
        self._loaded().draw_floats(self._weights, z.ctypes.data, at, len(z), out.ctypes.data)

    @property
    def made(self) -> str:
        """The name of the output."""
        return self._made

    def empty(self, count: int) -> Floats:
        """Return an uninitialized array for `count` images."""
        return np.empty((count, *self._of.image), np.float32)

    def draw_bytes(self, seed: int, start: int, count: int, labels: Labels | None = None) -> NDArray[np.uint8]:
        """Generate images from a seed, with latents that the C source computes."""
        channels, *sides = self._of.image
        out = np.empty((count, *sides, channels), np.uint8)
        chosen = None if labels is None or not self._of.classes else self._checked(labels, count)
        at = None if chosen is None else chosen.ctypes.data
        self._loaded().draw_bytes(self._weights, seed, start, at, count, out.ctypes.data)
        return out

    def close(self) -> None:
        self._library = None

    def _checked(self, labels: Labels | None, count: int) -> Labels:
        chosen = np.ascontiguousarray([] if labels is None else labels, np.int64)
        if chosen.shape != (count,) or (count and (chosen.min() < 0 or chosen.max() >= self._of.classes)):
            raise GanExportError(f"labels: each image needs one from 0 to {self._of.classes - 1}")
        return chosen

    def _loaded(self) -> Any:
        if self._library is None:
            raise GanExportError("this session is closed")
        return self._library

    def _hold_to_source(self, path: Path) -> None:
        """Raise GanExportError unless the source has the sizes that the manifest states, which all buffers have."""
        sizes = (ctypes.c_int64 * (2 + len(self._of.image)))()
        self._library.model_sizes(sizes)
        nz, classes, *image = sizes
        label: dict[str, Shape | None] = {"label": ()} if classes else {}
        self._shapes = Shapes({"z": (nz,), **label}, {self._made: tuple(image)}, classes)
        try:
            hold_to(self, self._signature)
        except GanExportError as e:
            raise GanExportError(f"{printable(str(path))}: {e}") from None

    def _check_latents(self, path: Path) -> None:
        """Raise GanExportError unless the source's latents equal the latent law's, bit by bit."""
        for seed, start in ((0, 0), (2**64 - 1, 2**64 - 8)):
            out = np.empty((8, self._of.nz), np.float32)
            self._library.draw_latents(seed, start, len(out), out.ctypes.data)
            if not np.array_equal(out, latents.draw(seed, start, len(out), self._of.nz, self._of.prior)):
                raise GanExportError(
                    f"{printable(str(path))}: the compiled code computes wrong latents; use another compiler"
                )


class CBound:
    """Bound latents, and an array that each call fills."""

    def __init__(self, session: CSession, z: Floats, labels: Labels | None) -> None:
        self._session, self._z, self._labels = session, z, labels
        self._out = session.empty(len(z))

    def __call__(self) -> None:
        self._session.fill(self._z, self._labels, self._out)

    def outputs(self) -> Outputs:
        return {self._session.made: self._out.copy()}


def _compiled(path: Path, symbol: Text[escape.C], of: LatentImage, embedded: bool) -> ctypes.CDLL:
    label = (c(""), c(""))
    if classes := of.classes:
        given = c("labels ? (uint32_t)labels[i] : (uint32_t)((start + (uint64_t)i) % {classes}u),", classes=classes)
        label = (c("(uint32_t)labels[i],"), given)
    caller = _CALLER
    sides = [c("LOUD_{name}", name=c_identifier(name)) for name in _SIDES[len(of.image) - 1]]
    for mark, value in (
        ("FLOATS_LABEL", label[0]), ("BYTES_LABEL", label[1]),
        ("COUNT_LABELS", c("LOUD_CLASSES") if classes else c("0")), ("SYMBOL", symbol),
        ("PIXELS", c(" * ").join(sides)), ("SIDES", c(", ").join(sides)),
        ("LOUD", c_identifier(str(symbol).upper())),
    ):  # fmt: skip
        caller = caller.replace(mark, value)
    loaded = compiled(path, symbol, caller, embedded)
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    loaded.draw_floats.argtypes = [pointer, pointer, pointer, whole, pointer]
    loaded.draw_bytes.argtypes = [pointer, ctypes.c_uint64, ctypes.c_uint64, pointer, whole, pointer]
    loaded.draw_latents.argtypes = [ctypes.c_uint64, ctypes.c_uint64, whole, pointer]
    loaded.draw_floats.restype = loaded.draw_bytes.restype = loaded.draw_latents.restype = None
    loaded.model_sizes.restype = None
    return loaded


C = CRuntime()
