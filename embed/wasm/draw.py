"""Pictures of a seed by the WebAssembly engine in wasmtime: python draw.py gan-simd.wasm g.gan SEED COUNT pictures.npy.

The functions are csrc/gan.h's; structures lie as wasm32 lays them out.
"""

import struct
import sys

import numpy as np
from wasmtime import Engine, Instance, Module, Store

engine, file, seed, count, out = sys.argv[1:]
store = Store(Engine())
wasm = Instance(store, Module.from_file(store.engine, engine), []).exports(store)
memory = wasm["memory"]


def call(name: str, *arguments: int) -> int:
    return wasm[name](store, *arguments)


def put(data: bytes) -> int:
    """The address of a copy of `data` in the engine's memory; at least 64 bytes are there."""
    at = call("malloc", max(len(data), 64)) & 0xFFFFFFFF
    memory.write(store, data, at)
    return at


def check(status: int) -> None:
    if status:
        at = call("gan_status_string", status)
        sys.exit("draw: " + bytes(memory.read(store, at, at + 200)).split(b"\0")[0].decode())


def u32(at: int, number: int = 1) -> tuple[int, ...]:
    return struct.unpack(f"<{number}I", memory.read(store, at, at + 4 * number))


with open(file, "rb") as f:
    data = f.read()
cell = put(b"")
check(call("gan_open_memory", put(data), len(data), cell))
model = u32(cell)[0]
call("gan_describe", model, cell)
_, channels, height, width = u32(cell, 4)
check(call("gan_context_new", model, put(struct.pack("<IIQ", 1, 32, 0)), cell))  # threads, batch, memory
context = u32(cell)[0]
size = int(count) * height * width * channels
pixels = put(bytes(size))
request = put(struct.pack("<QQQqII", int(seed), 0, int(count), -1, 0, 0))  # label -1: random
check(call("gan_generate_bytes", context, request, pixels, size))
pictures = np.frombuffer(bytes(memory.read(store, pixels, pixels + size)), np.uint8)
np.save(out, pictures.reshape(int(count), height, width, channels))
