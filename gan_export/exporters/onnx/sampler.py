"""The latent law (docs/latent-rng.md) in plain ONNX operators before a generator: from a seed to bytes.

One graph works with 64-bit integers and with runtimes that silently narrow int64 to int32 (OpenVINO).  Philox is
computed on 16-bit halves in int32, whose products wrap alike everywhere.  The range checks compare float casts of the
inputs, which keep the high bits that narrowing loses.  Each call computes one more row, of a fixed seed and image,
whose words are known: a runtime that computes any of this otherwise stops instead of generating other images.

ONNX has no operator that fails on purpose.  A Reshape to one row too many does in every runtime, and the error names
the node: `REFUSAL`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.graph.views import LatentImage

if TYPE_CHECKING:
    import onnx

REFUSAL = "seed_start_count_or_label_is_out_of_range_or_this_runtime_can_not_draw_latents"
SEEDED = ("seed", "start", "count")
RANDOM, ALL = -1, -2  # values of `label` besides labels
MOST_CLASSES = 8192  # sums of eight bytes times a residue stay below 2^24: exact even if a runtime divides by floats
_SEEDS_64, _IMAGES_64 = 2.0**64, 2.0**62 + 2.0**40  # above the seeds and start + count with 64-bit integers
_ALL_32 = 2.0**32  # above both with 32-bit integers
_KNOWN = (0x13198A2E03707344, 0xA4093822299F31D0)  # seed and image of the row that every call checks
_ROUNDS = 10
_HALF = 0xFFFF


def prepend_sampler(model: onnx.ModelProto, of: LatentImage) -> None:
    """Turn a generator's graph, z (N, nz) and label (N,) to uint8 image, into one that takes a seed, in place.

    Inputs: seed, start, count int64 (); if there are labels, label int64 (1,) or (count,), each a label, RANDOM or ALL.
    Output: image uint8 (count, H, W, C).
    """
    from onnx import TensorProto, helper

    if of.classes > MOST_CLASSES:
        raise GanExportError(f"{of.classes} classes: a sampler graph takes at most {MOST_CLASSES}; leave it out")
    law = _Law(of)
    law.write()
    graph = model.graph
    nodes, initializers = list(graph.node), list(graph.initializer)
    del graph.node[:], graph.initializer[:], graph.input[:]
    taken = {name: f"generator/{name}" for name in SEEDED}  # a layer may have such a name
    taken |= {"z": REFUSAL}
    taken |= {"label": "label.each"} if of.classes else {}
    for node in nodes:
        node.input[:] = [taken.get(name, name) for name in node.input]
        node.output[:] = [taken.get(name, name) for name in node.output]
    graph.node.extend([*law.nodes, *nodes])
    graph.initializer.extend([*law.initializers, *initializers])
    for name in SEEDED:
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, []))
    if of.classes:
        graph.input.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["labels"]))
    for value in [*graph.output, *graph.value_info]:
        value.name = taken.get(value.name, value.name)
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "N":
                dim.dim_param = "count"


class _Law:
    """Collects the nodes in order.

    S lanes are R rows times B Philox blocks; R is count plus the row of known words.
    """

    def __init__(self, of: LatentImage) -> None:
        self.of = of
        self.blocks = -(-of.nz // 8)
        self.columns = self.blocks + (1 if of.classes else 0)  # labels have a block of their own
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def write(self) -> None:
        """Fill `nodes` and `initializers`; latents (count, nz) are the value REFUSAL, labels (count,) label.each."""
        fits, wide = self._checks()
        rows, limbs = self._indices(fits, wide)  # limbs int32 (4, count + 1): 16 bits each, lowest first; seed last
        halves = self._words(limbs)  # int32 (R, 8 B)
        drawn = self.op("Slice", halves, self.ints(0), self.ints(-1), self.ints(0))  # (count, 8 B)
        known = self.op("Slice", halves, self.ints(-1), self.ints(1 << 31), self.ints(0))
        wrong = self.op("ReduceMax", self.op("Abs", self.op("Sub", known, self.constant(_known_halves(self)))))
        fits = self.op("And", fits, self.op("Equal", self.op("Squeeze", wrong), self.constant(0, np.int32)))
        if self.of.classes:
            fits = self._labels(fits, drawn, limbs, rows)
        u = self.op("Slice", drawn, self.ints(0), self.ints(self.of.nz), self.ints(1))
        if self.of.prior == "normal":
            z = self.op("Gather", self.constant(latents.normal_table()), u)
        else:
            z = self.op("Add", self.op("Cast", u, to=1), self.constant(0.5, np.float32))
            z = self.op("Mul", z, self.constant(2.0**-15, np.float32))  # a power of two, and so exact
            z = self.op("Sub", z, self.constant(1.0, np.float32))
        # The sum keeps the shape from being a Concat, which optimizers read as (any size, nz).
        shape = self.op("Concat", rows, self.ints(self.of.nz), axis=0)
        shape = self.op("Add", shape, self.op("Where", fits, self.ints(0, 0), self.ints(1, 0)))
        self.op("Reshape", z, shape, name=REFUSAL)  # its output has the same name, which OpenVINO's errors show

    def _checks(self) -> tuple[str, str]:
        """Return (whether seed, start and count are in range, whether integers have 64 bits), both bool ()."""
        seed, start, count = (self.op("Cast", name, to=1) for name in ("seed", "start", "count"))
        long = self.op("Add", "count", self.constant(1 << 33, np.int64))
        wide = self.op("Greater", self.op("Cast", long, to=1), self.constant(5e9, np.float32))
        fits = ""
        for value, least in ((seed, 0.0), (start, 0.0), (count, 1.0)):
            above = self.op("GreaterOrEqual", value, self.constant(least, np.float32))
            fits = self.op("And", fits, above) if fits else above
        for value, limit in ((seed, _SEEDS_64), (self.op("Add", start, count), _IMAGES_64)):
            most = self.op("Where", wide, self.constant(limit, np.float32), self.constant(_ALL_32, np.float32))
            fits = self.op("And", fits, self.op("Less", value, most))  # a float too near the limit is rounded to it
        return fits, wide

    def _indices(self, fits: str, wide: str) -> tuple[str, str]:
        """Return (count int64 (1,), or 1 if it is out of range; the limbs of the images' indices and of the seed)."""
        rows = self.op("Where", fits, "count", self.constant(1, np.int64))
        steps = self.op("Range", self.constant(0, np.int64), rows, self.constant(1, np.int64))
        values = [self.op("Add", steps, "start"), self.op("Unsqueeze", "seed", self.ints(0))]
        rest = self.op("Unsqueeze", self.op("Concat", *values, axis=0), self.ints(0))  # (1, count + 1)
        parts = []
        for i in range(4):
            part = self.op("BitwiseAnd", rest, self.constant(_HALF, np.int64))
            parts.append(part)
            if i < 3:  # the dividend is a multiple, so no rounding differs, and the result is exact as a float too
                rest = self.op("Div", self.op("Sub", rest, part), self.constant(1 << 16, np.int64))
        limbs = self.op("Cast", self.op("Concat", *parts, axis=0), to=6)
        column = np.array([[1], [1], [0], [0]], np.int32)  # 32 bits contain only two limbs; the rest is the sign
        held = self.op("Where", wide, self.constant(np.ones_like(column)), self.constant(column))
        return self.op("Unsqueeze", rows, self.ints(0)), self.op("Mul", limbs, held)

    def _words(self, limbs: str) -> str:
        """Return Philox4x32-10 of every row and block: int32 (R, 8 B), two halves per word."""
        seed_limbs, image_limbs = (_limbs(value) for value in _KNOWN)
        images = self.op("Slice", limbs, self.ints(0), self.ints(-1), self.ints(1))
        images = self.op("Concat", images, self.constant(image_limbs), axis=1)  # (4, R)
        ones = self.op("Sub", images, images)
        seeds = self.op("Slice", limbs, self.ints(-1), self.ints(1 << 31), self.ints(1))
        seeds = self.op("Add", self.op("Slice", ones, self.ints(0), self.ints(-1), self.ints(1)), seeds)
        seeds = self.op("Concat", seeds, self.constant(seed_limbs), axis=1)  # (4, R)
        counters = np.zeros((4, 1, self.columns), np.int32)  # halves of c0, the block, and of c1, the stream
        counters[0, 0, : self.blocks] = np.arange(self.blocks)
        counters[2, 0, self.blocks :] = latents.STREAM_LABELS
        zeros = self.op("Unsqueeze", ones, self.ints(2))
        c01 = self._lanes(self.op("Add", zeros, self.constant(counters)))
        across = self.op("Unsqueeze", images, self.ints(2))
        c23 = self._lanes(self.op("Add", across, self.constant(np.zeros((1, 1, self.columns), np.int32))))
        c0, c1 = self.split(c01, 2)  # each (2 halves, 1, S)
        c2, c3 = self.split(c23, 2)
        # `even` is multiplied. Its order is (c0, c2) before an even round and (c2, c0) before an odd one; that of `odd`
        # is (c3, c1) and (c1, c3). So only one of the two must be swapped in a round.
        even, odd = self.op("Concat", c0, c2, axis=1), self.op("Concat", c3, c1, axis=1)  # (2 halves, 2 words, S)
        low = ""
        for i, key in enumerate(self._keys(seeds)):
            high, low = self._product(even, latents.MULTIPLIERS if i % 2 == 0 else latents.MULTIPLIERS[::-1])
            even = self.op("BitwiseXor", self.op("BitwiseXor", high, odd), key)  # (1, 2, 2, S)
            odd = self.op("Gather", low, self.ints(1, 0), axis=1)
        even = self.op("Squeeze", even, self.ints(0))
        words = self.op("Concat", even, low, axis=0)  # low was not swapped: (c1, c3). (2 x 2 halves, 2, S)
        words = self.op("Transpose", words, perm=[2, 1, 0])  # a lane's c0, c1, c2, c3
        return self.op("Reshape", words, self.ints(-1, 8 * self.columns))

    def _keys(self, seeds: str) -> list[str]:
        """Return each round's key as int32 (1, 2 halves, 2 words, S), in the order in which the round adds it."""
        order = np.array([[1, 0] if i % 2 == 0 else [0, 1] for i in range(_ROUNDS)])  # word by round
        weyl = np.array([[i * latents.WEYL[w] % (1 << 32) for w in order[i]] for i in range(_ROUNDS)])[..., None]
        low = self.op("Gather", seeds, self.constant(2 * order), axis=0)  # (rounds, 2, R)
        low = self.op("Add", low, self.constant(weyl & _HALF, np.int32))
        low, carry = self._carry(low)
        high = self.op("Gather", seeds, self.constant(2 * order + 1), axis=0)
        high = self.op("Add", self.op("Add", high, self.constant(weyl >> 16, np.int32)), carry)
        high = self.op("BitwiseAnd", high, self.constant(_HALF, np.int32))
        both = self.op("Concat", *(self.op("Unsqueeze", v, self.ints(1, 4)) for v in (low, high)), axis=1)
        both = self.op("Add", both, self.constant(np.zeros((1, self.columns), np.int32)))  # (rounds, 2, 2, R, B)
        return self.split(self.op("Reshape", both, self.ints(_ROUNDS, 2, 2, -1)), _ROUNDS)

    def _product(self, words: str, multipliers: tuple[int, int]) -> tuple[str, str]:
        """Return high and low words of the 64-bit products, each int32 (2 halves, 2 words, S)."""
        pieces = np.array([[m & _HALF for m in multipliers], [m >> 16 for m in multipliers]], np.int32)
        # (2 multiplier halves, 2 halves, 2 words, S); wraps, but both of its halves are right
        products = self.op("Mul", words, self.constant(pieces[:, None, :, None]))
        products = self.op("Reshape", products, self.ints(4, 2, -1))
        low, high = self._carry(products)
        high = self.op("BitwiseAnd", high, self.constant(_HALF, np.int32))  # without its sign
        low00, low01, low10, low11 = self.split(low, 4)
        high00, high01, high10, high11 = self.split(high, 4)
        second, carry = self._carry(self.op("Add", self.op("Add", high00, low01), low10))
        third = self.op("Add", self.op("Add", high01, high10), self.op("Add", low11, carry))
        third, carry = self._carry(third)
        fourth = self.op("Add", high11, carry)
        return self.op("Concat", third, fourth, axis=0), self.op("Concat", low00, second, axis=0)

    def _labels(self, fits: str, halves: str, limbs: str, rows: str) -> str:
        """Write label.each int64 (count,), and return `fits` with the labels' own range."""
        classes = self.of.classes
        at = 8 * self.blocks
        low = self.op("Slice", halves, self.ints(at), self.ints(at + 1), self.ints(1))  # word 0 of the labels' block
        high = self.op("Slice", halves, self.ints(at + 1), self.ints(at + 2), self.ints(1))
        k = self.constant(classes, np.int32)
        _, carry = self._carry(self.op("Mul", low, k))
        _, random = self._carry(self.op("Add", self.op("Mul", high, k), carry))  # (word x classes) >> 32
        images = self.op("Slice", limbs, self.ints(0), self.ints(-1), self.ints(1))  # (4, count)
        tops, bottoms = self._bytes(images)
        residues = np.array([[pow(256, i, classes)] for i in (0, 2, 4, 6, 1, 3, 5, 7)], np.int32)
        index = self.op("Mul", self.op("Concat", bottoms, tops, axis=0), self.constant(residues))
        turn = self.op("Mod", self.op("ReduceSum", index, self.ints(0), keepdims=0), k)  # index mod classes
        value = self.op("Cast", "label", to=1)
        above = self.op("GreaterOrEqual", self.op("ReduceMin", value, keepdims=0), self.constant(ALL, np.float32))
        below = self.op("Less", self.op("ReduceMax", value, keepdims=0), self.constant(classes, np.float32))
        integer_label = self.op("Cast", "label", to=6)
        random = self.op("Squeeze", random, self.ints(1))
        each = self.op("Where", self.op("Equal", integer_label, self.constant(ALL, np.int32)), turn, integer_label)
        each = self.op("Where", self.op("Equal", integer_label, self.constant(RANDOM, np.int32)), random, each)
        each = self.op("Cast", each, to=7)
        self.op("Reshape", each, rows, name=f"{REFUSAL}/label", output="label.each")  # (1,) or (count,), nothing else
        size = self.op("Shape", "label")
        one = self.op("Equal", size, self.ints(1))
        enough = self.op("Squeeze", self.op("Or", one, self.op("Equal", size, rows)), self.ints(0))
        return self.op("And", self.op("And", fits, enough), self.op("And", above, below))

    def _bytes(self, limbs: str) -> tuple[str, str]:
        """Return high and low bytes of 16-bit limbs."""
        low = self.op("BitwiseAnd", limbs, self.constant(0xFF, np.int32))
        return self.op("Div", self.op("Sub", limbs, low), self.constant(1 << 8, np.int32)), low

    def _carry(self, value: str) -> tuple[str, str]:
        """Return the low 16 bits of int32, and the bits above them by an exact division."""
        low = self.op("BitwiseAnd", value, self.constant(_HALF, np.int32))
        return low, self.op("Div", self.op("Sub", value, low), self.constant(1 << 16, np.int32))

    def _lanes(self, value: str) -> str:
        """Return (4, R, B) as (4, 1, S)."""
        return self.op("Reshape", value, self.ints(4, 1, -1))

    def op(self, kind: str, *inputs: str, name: str = "", output: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        from onnx import helper

        name = name or f"law/{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output or name], name=name, **attributes))
        return output or name

    def split(self, value: str, parts: int) -> list[str]:
        """Return equal parts along the first axis, which is kept."""
        from onnx import helper

        name = f"law/split{len(self.nodes)}"
        outputs = [f"{name}.{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [value], outputs, name=name, axis=0, num_outputs=parts))
        return outputs

    def ints(self, *values: int) -> str:
        """Return int64 (n,), for shapes, axes and bounds."""
        return self.constant(np.array(values, np.int64))

    def constant(self, value: Any, kind: npt.DTypeLike | None = None) -> str:
        """Return an initializer; equal values share one."""
        from onnx import numpy_helper

        array = np.asarray(value, kind)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = "law/normal_table" if array.size == 1 << 16 else f"law/constant{len(self._constants)}"
            self._constants[key] = name
            self.initializers.append(numpy_helper.from_array(array, name))
        return self._constants[key]


def _limbs(value: int) -> npt.NDArray[np.int32]:
    """Return 64 bits as int32 (4, 1), 16 bits each, lowest first."""
    return np.array([[value >> (16 * i) & _HALF] for i in range(4)], np.int32)


def _known_halves(law: _Law) -> npt.NDArray[np.int32]:
    """Return the known row, int32 (1, 8 B), computed by the reference."""
    seed, image = _KNOWN
    streams = [(b, latents.STREAM_LATENTS) for b in range(law.blocks)]
    streams += [(0, latents.STREAM_LABELS)] * (law.columns - law.blocks)
    words = [
        word
        for block, stream in streams
        for word in latents.philox((block, stream, image & 0xFFFFFFFF, image >> 32), (seed & 0xFFFFFFFF, seed >> 32))
    ]
    return np.array([[half for word in words for half in (word & _HALF, word >> 16)]], np.int32)
