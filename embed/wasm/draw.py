"""Generate images of a seed by the WebAssembly engine in wasmtime: python draw.py ENGINE.wasm g.gan SEED COUNT OUT.npy.

The functions are those of engine/include/gan.h; structures have wasm32's layout.
"""

import argparse
import struct

import numpy as np
from wasmtime import Engine, Instance, Module, Store, WasmtimeError

MOST = 4096  # images at once: they are in the engine's memory


class Generator:
    """One generator in one instance of the engine."""

    def __init__(self, engine: str, file: str) -> None:
        self._store = Store(Engine())
        self._wasm = Instance(self._store, Module.from_file(self._store.engine, engine), []).exports(self._store)
        with open(file, "rb") as f:
            data = f.read()
        self._cell = self._put(bytes(64))
        self._check(self._call("gan_open_memory", self._put(data), len(data), 0, self._cell))
        (model,) = self._u32(1)
        self._wasm["memory"].write(self._store, struct.pack("<I", 64), self._cell)  # the size of gan_info
        self._call("gan_describe", model, self._cell)
        channels, height, width = self._u32(7)[4:]
        self._shape = (height, width, channels)
        options = self._put(struct.pack("<QQII16x", 40, 0, 1, 32))  # its size, memory, threads, batch
        self._check(self._call("gan_context_new", model, options, self._cell))
        (self._context,) = self._u32(1)

    def draw(self, seed: int, count: int) -> np.ndarray:
        """Return the seed's first images, uint8 (count, H, W, C)."""
        size = count * self._shape[0] * self._shape[1] * self._shape[2]
        pixels = self._put(bytes(size))
        request = self._put(struct.pack("<QQQQ48x", 80, seed, 0, count))
        output = self._put(struct.pack("<III20x", 32, pixels, size))
        self._check(self._call("gan_generate", self._context, request, output))
        pictures = np.frombuffer(self._get(pixels, size), np.uint8).reshape(count, *self._shape)
        self._call("free", pixels)
        self._call("free", request)
        self._call("free", output)
        return pictures

    def _call(self, name: str, *arguments: int) -> int:
        return self._wasm[name](self._store, *arguments)

    def _put(self, data: bytes) -> int:
        """Return the address of a copy of `data` in the engine's memory."""
        at = self._call("malloc", len(data)) & 0xFFFFFFFF
        if not at:
            raise MemoryError(f"no memory for {len(data)} bytes more")
        self._wasm["memory"].write(self._store, data, at)
        return at

    def _get(self, at: int, size: int) -> bytes:
        return bytes(self._wasm["memory"].read(self._store, at, at + size))

    def _u32(self, number: int) -> tuple[int, ...]:
        return struct.unpack(f"<{number}I", self._get(self._cell, 4 * number))

    def _check(self, status: int) -> None:
        if status:
            raise ValueError(self._get(self._call("gan_status_string", status), 200).split(b"\0")[0].decode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("generator")
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("pictures")
    args = parser.parse_args()
    try:
        if not 0 <= args.seed < 2**64 or not 1 <= args.count <= MOST:
            raise ValueError(f"the seed must be 0 to 2^64-1, and the count 1 to {MOST}")
        np.save(args.pictures, Generator(args.engine, args.generator).draw(args.seed, args.count))
    except (OSError, ValueError, MemoryError, WasmtimeError) as e:
        parser.error(str(e))
