"""A generator's signature: what it refuses, what it feeds, what it checks, and that it reads back what it writes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.graph.ports import Normal, Port, Size, TruncatedNormal, Uniform
from gan_export.graph.probes import probe_bytes
from gan_export.graph.signature import Signature

VECTORS = Path(__file__).parent / "stream_vectors"
PLAIN = Signature.of_latent(100, "normal", (3, 64, 64), classes=10)
WIDE = Signature(
    (
        Port("z", "latent", (4,), prior=Uniform(-2, 6)),
        Port("input", "image", (3, "H", "W"), range=(0, 1)),
        Port("noise_0", "noise", (1, "H/2", "W*2"), prior=Normal()),
        Port("noise_1", "noise", (5,), prior=TruncatedNormal(1.5)),
        Port("psi", "scalar", range=(0, 0.7)),
        Port("label", "label", (6,), "float32", classes=6),
    ),
    (Port("image", "image", (3, "H*4", "W*4")), Port("mask", "values", ("H", "W"))),
    sizes={"H": Size(8, 4, 512), "W": Size(4, 2, 300)},
)


def test_the_streams_give_the_known_values() -> None:
    """The table is of docs/latent-rng.md: a line per kind, 32-bit patterns of float32, or bits kept."""
    lines = [line.split() for line in VECTORS.read_text().splitlines() if line and line[0] != "#"]
    assert {words[0] for words in lines} == {"noise", "truncated", "uniform", "dropout", "probe"}
    tables = {"noise": "normal", "truncated": "truncated", "uniform": "uniform"}
    for kind, *given, wanted in lines:
        numbers = [float(g) for g in given]
        seed, index = int(given[0]), np.array([int(given[1])], np.uint64)
        if kind == "probe":
            channels, *sides = map(int, given[2:])
            got = probe_bytes(seed, index, channels, tuple(sides)).tobytes().hex()
        elif kind == "dropout":
            keeps = latents.dropout_keeps(seed, index, int(given[2]), numbers[3], int(given[4]))[0]
            got = "".join(str(int(k)) for k in keeps)
        else:
            prior: Any = {"normal": Normal, "truncated": TruncatedNormal, "uniform": Uniform}[tables[kind]](
                *numbers[4:]
            )
            stream = latents.STREAM_NOISE[int(given[3])]
            got = latents.draw_table(seed, index, int(given[2]), prior.table(), stream).astype(">f4").tobytes().hex()
        assert got == wanted, (kind, given)


def words(seed: int, index: int, stream: int, size: int) -> list[int]:
    """`size` 16-bit numbers by the reference form of Philox alone."""
    found: list[int] = []
    for block in range(-(-size // 8)):
        counter = (block, stream, index & 0xFFFFFFFF, index >> 32)
        for word in latents.philox(counter, (seed & 0xFFFFFFFF, seed >> 32)):
            found += [word & 0xFFFF, word >> 16]
    return found[:size]


def test_a_probe_is_what_the_law_says_in_plain_numbers() -> None:
    """docs/latent-rng.md in loops of whole numbers."""
    channels, height, width = 2, 7, 12
    head = channels * 25 + 3 * (3 + channels)
    u = words(11, 1 << 33, 9, head + channels * height * width)
    image = np.zeros((channels, height, width), np.uint8)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                i, j = min((2 * y + 1) * 4 // (2 * height), 3), min((2 * x + 1) * 4 // (2 * width), 3)
                v, h = (2 * y + 1) * 4 - i * 2 * height, (2 * x + 1) * 4 - j * 2 * width
                corner = [[u[c * 25 + (i + di) * 5 + j + dj] for dj in (0, 1)] for di in (0, 1)]
                top, bottom = (a * (2 * width - h) + b * h for a, b in corner)
                total = (top * (2 * height - v) + bottom * v) // (4 * height * width)
                for e in range(3):
                    a, b, offset, *steps = (n - 32768 for n in u[channels * 25 + e * 5 : channels * 25 + e * 5 + 5])
                    reach = a * (2 * y + 1 - height) * width + b * (2 * x + 1 - width) * height
                    total += (steps[c] // 2) * (reach + offset // 2 * height * width >= 0)
                total += (u[head + (c * height + y) * width + x] - 32768) // 8
                image[c, y, x] = min(max(total, 0), 65535) // 256
    assert np.array_equal(probe_bytes(11, np.array([1 << 33], np.uint64), channels, (height, width), 9)[0], image)


def test_noise_and_dropout_read_the_words_of_their_streams() -> None:
    index = np.array([5], np.uint64)
    assert latents.draw_table(3, index, 21, np.arange(65536), 18)[0].tolist() == words(3, 5, 18, 21)
    keeps = latents.dropout_keeps(3, index, 21, 0.25, 2)[0]
    assert keeps.tolist() == [u >= 16384 for u in words(3, 5, 4098, 21)]


def test_a_noise_port_reads_its_own_stream_row_by_row() -> None:
    feeds = WIDE.feeds(3, [5, 0], sizes={"H": 8, "W": 6})
    plane = latents.draw_table(3, np.array([5], np.uint64), 48, latents.normal_table(), 16)
    assert np.array_equal(feeds["noise_0"][0], plane.reshape(1, 4, 12))
    assert feeds["noise_1"].std() < 1.5
    assert not np.array_equal(feeds["noise_1"][0], plane[0, :5])


def test_the_feeds_of_a_latent_generator_are_those_of_the_latent_law() -> None:
    feeds = PLAIN.feeds(7, range(5, 30))
    assert list(feeds) == ["z", "label"]
    assert np.array_equal(feeds["z"], latents.draw(7, 5, 25, 100))
    assert np.array_equal(feeds["label"], np.arange(5, 30) % 10)
    assert np.array_equal(PLAIN.feeds(7, range(5, 30), label="random")["label"], latents.labels(7, 5, 25, 10))
    uniform = Signature.of_latent(9, "uniform", (1, 4, 4))
    assert np.array_equal(uniform.feeds(7, range(3))["z"], latents.draw(7, 0, 3, 9, "uniform"))


def test_an_image_has_the_same_feeds_in_any_batch() -> None:
    whole = WIDE.feeds(2, range(40))
    apart = WIDE.feeds(2, [39, 3])
    for name, array in whole.items():
        assert np.array_equal(array[[39, 3]], apart[name]), name
    last = PLAIN.feeds(2, range((1 << 64) - 2, 1 << 64))
    assert np.array_equal(last["z"], PLAIN.feeds(2, np.array([2**64 - 2, 2**64 - 1], np.uint64))["z"])
    assert last["label"].tolist() == [(2**64 - 2) % 10, (2**64 - 1) % 10]


def test_feeds_have_the_types_and_shapes_of_their_ports() -> None:
    feeds = WIDE.feeds(0, range(3), sizes={"H": 12})
    shapes = {name: (array.shape, array.dtype.name) for name, array in feeds.items()}
    assert shapes == {
        "z": ((3, 4), "float32"),
        "input": ((3, 3, 12, 64), "float32"),
        "noise_0": ((3, 1, 6, 128), "float32"),
        "noise_1": ((3, 5), "float32"),
        "psi": ((3,), "float32"),
        "label": ((3, 6), "float32"),
    }
    assert feeds["psi"].tolist() == [np.float32(0.7)] * 3
    assert feeds["label"].argmax(1).tolist() == [0, 1, 2]
    assert feeds["z"].min() > -2
    assert feeds["z"].max() < 6
    assert WIDE.output_shapes(3, {"H": 12}) == {"image": (3, 3, 48, 256), "mask": (3, 12, 64)}


def test_given_values_go_before_drawn_ones() -> None:
    image = np.linspace(0, 1, 3 * 8 * 6).reshape(3, 8, 6)
    feeds = WIDE.feeds(0, range(2), input=image, psi=0.5)
    assert feeds["noise_0"].shape == (2, 1, 4, 12), "the sizes are those of the given image"
    assert np.array_equal(feeds["input"], np.broadcast_to(image.astype(np.float32), (2, 3, 8, 6)))
    assert feeds["psi"].tolist() == [0.5, 0.5]
    assert PLAIN.feeds(0, range(3), label=7)["label"].tolist() == [7, 7, 7]
    assert PLAIN.feeds(0, range(3), label=[1, 2, 3])["label"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("kind", "shape", "layout"), [
    ("image", (2, 9, 14), "CHW"), ("image", (9, 14, 2), "HWC"), ("volume", (2, 3, 9, 14), "CDHW"),
    ("video", (3, 9, 14, 2), "THWC"), ("audio", (2, 31), "CT"), ("values", (7, 3), ""),
])  # fmt: skip
def test_probes_lie_in_the_layout_and_range_of_the_port(kind: Any, shape: tuple[int, ...], layout: str) -> None:
    port = Port("input", kind, shape, layout=layout, range=(-3, 1))
    (array,) = Signature((port,), (Port("out", "values", (1,)),)).feeds(1, range(4)).values()
    assert array.shape == (4, *shape)
    assert -3 <= array.min() < array.max() <= 1
    as_bytes = dataclasses.replace(port, dtype="uint8", range=None)
    (pixels,) = Signature((as_bytes,), (Port("out", "values", (1,)),)).feeds(1, range(4)).values()
    assert np.allclose(array, pixels / 255.0 * 4 - 3, atol=1e-6)
    if layout in ("HWC", "THWC"):
        first = probe_bytes(1, np.arange(4, dtype=np.uint64), 2, shape[:-1])
        assert np.array_equal(pixels, np.moveaxis(first, 1, -1))


def test_a_probe_has_low_frequencies_edges_and_noise() -> None:
    for image in probe_bytes(0, np.arange(8, dtype=np.uint64), 1, (96, 64))[:, 0].astype(float):
        steps = np.abs(np.diff(image, axis=1))
        assert steps.max() > 40, "an edge"
        assert 3 < np.median(steps) < 20, "noise"
        blocks = image.reshape(6, 16, 4, 16).mean((1, 3))
        assert blocks.std() > 15, "low frequencies"


def test_probes_of_other_sizes_show_the_same_scene() -> None:
    small, large = (probe_bytes(5, np.array([2], np.uint64), 3, side)[0].astype(float) for side in ((32, 32), (64, 64)))
    assert np.abs(large.reshape(3, 32, 2, 32, 2).mean((2, 4)) - small).mean() < 12


def test_sizes_to_judge_are_usual_unlike_and_least() -> None:
    assert PLAIN.judged_sizes() == ({},)
    usual, unlike, least = WIDE.judged_sizes()
    assert usual == {"H": 64, "W": 64} == WIDE.usual_sizes()
    assert least == {"H": 8, "W": 4}
    assert unlike["H"] != unlike["W"]
    for sizes in (usual, unlike, least):
        WIDE.check(WIDE.feeds(0, range(1), sizes=sizes))
    fixed = dataclasses.replace(WIDE, sizes={"H": (16, 4, 16), "W": (16, 4, 16)})
    assert fixed.judged_sizes() == ({"H": 16, "W": 16},)


def test_check_converts_and_orders() -> None:
    feeds = PLAIN.check({"label": np.array([3], np.int32), "z": np.zeros((1, 100))[:, ::-1]})
    assert list(feeds) == ["z", "label"]
    assert feeds["z"].dtype == np.float32
    assert feeds["z"].flags.c_contiguous
    assert feeds["label"].dtype == np.int64


@pytest.mark.parametrize(("feeds", "message"), [
    ({}, "feeds of nothing; this generator takes z, label"),
    ({"z": np.zeros((1, 100)), "label": [0], "w": [0]}, "feeds of z, label, w; this generator takes z, label"),
    ({"z": np.zeros((1, 99)), "label": [0]}, r"z of shape (1, 99); float32 (N, 100) is needed"),
    ({"z": np.zeros(100), "label": [0]}, r"z of shape (100,); float32 (N, 100) is needed"),
    ({"z": np.zeros((1, 100)), "label": 0}, r"label of shape (); int64 (N,) is needed"),
    ({"z": np.zeros((2, 100)), "label": [0]}, "feeds of different lengths, or empty: 2 of z, 1 of label"),
    ({"z": np.zeros((0, 100)), "label": np.zeros(0, int)}, "feeds of different lengths, or empty: 0 of z, 0 of label"),
    ({"z": np.zeros((1, 100)), "label": [10]}, "label 10: must be 0 to 9"),
    ({"z": np.zeros((1, 100)), "label": [-1]}, "label -1: must be 0 to 9"),
    ({"z": np.zeros((1, 100)), "label": [0.5]}, "label is float64; int64 is needed"),
    ({"z": np.zeros((1, 100), np.uint8), "label": [0]}, "z is uint8; float32 is needed"),
])  # fmt: skip
def test_feeds_that_do_not_fit_are_refused_in_one_line(feeds: dict[str, Any], message: str) -> None:
    with pytest.raises(GanExportError) as e:
        PLAIN.check(feeds)
    assert str(e.value) == message


@pytest.mark.parametrize(("given", "message"), [
    ({"input": np.zeros((3, 9, 8))}, "H is 9; it must be a multiple of 4 from 8 to 512"),
    ({"input": np.zeros((1, 8, 8))}, "input of shape (2, 1, 8, 8); float32 (N, 3, H, W), here 3 x 8 x 8 is needed"),
    (
        {"input": np.zeros((3, 8, 8)), "noise_0": np.zeros((1, 8, 16))},
        "noise_0 of shape (2, 1, 8, 16); float32 (N, 1, H/2, W*2), here 1 x 4 x 16 is needed",
    ),
    ({"sizes": {"H": 4}}, "H is 4; it must be a multiple of 4 from 8 to 512"),
    ({"sizes": {"D": 4}}, "no size is called D; there are H, W"),
    ({"w": 0.0}, "no input is called w; there are z, input, noise_0, noise_1, psi, label"),
    ({"z": "random"}, "z: 'random' is no array; only labels are chosen by a word"),
    ({"label": "each"}, "label: 'each' is no choice; all and random are"),
])  # fmt: skip
def test_given_values_that_do_not_fit_are_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(GanExportError) as e:
        WIDE.feeds(0, range(2), **given)
    assert str(e.value) == message


def test_seeds_and_indices_outside_the_law_are_refused() -> None:
    for seed, indices in ((-1, range(2)), (1 << 64, range(2)), (0, [-1]), (0, []), (0, [[1]]), (0, [0.5])):
        with pytest.raises(GanExportError):
            PLAIN.feeds(seed, indices)


@pytest.mark.parametrize(("build", "message"), [
    (lambda: Port("a b", "latent"), "not an identifier"),
    (lambda: Port("z\x1b[0m", "latent"), r"port z\x1b[0m"),
    (lambda: Port("z", "vector"), "kind vector is not known"),  # type: ignore[arg-type]
    (lambda: Port("z", "latent", (0,)), "its shape"),
    (lambda: Port("z", "latent", (True,)), "its shape"),
    (lambda: Port("z", "latent", ("H+1",)), "its shape"),
    (lambda: Port("z", "latent", ("H*1",)), "its shape"),
    (lambda: Port("z", "latent", (1,) * 7), "its shape"),
    (lambda: Port("z", "values", (1 << 15, 1 << 15)), "more than 2^28 values"),
    (lambda: Port("z", "latent", (1,), "float64"), "dtype float64 is not known"),  # type: ignore[arg-type]
    (lambda: Port("image", "image", (3, 8, 8), layout="WHC"), "no image has the layout 'WHC'"),
    (lambda: Port("image", "image", (8, 8)), "CHW has another rank"),
    (lambda: Port("z", "latent", (8,), layout="C"), "no latent has the layout 'C'"),
    (lambda: Port("label", "label"), "labels have classes"),
    (lambda: Port("z", "latent", (8,), classes=3), "labels have classes"),
    (lambda: Port("label", "label", (3,), classes=4), "a label is int64"),
    (lambda: Port("image", "image", (3, 8, 8), range=(1, -1)), "its range is low, high"),
    (lambda: Port("image", "image", (3, 8, 8), range=(0, float("nan"))), "its range is low, high"),
    (lambda: Port("image", "image", (3, 8, 8), "uint8", range=(0, 1)), "the range of uint8 is 0 to 255"),
    (lambda: Port("z", "latent", (8,), stream=1 << 20), "stream 0 to 8191"),
    (lambda: Uniform(2, 1), "low <= high"),
    (lambda: TruncatedNormal(0), "a bound of at least 0.01"),
    (lambda: Size(3, 2, 9), "least is a multiple"),
    (lambda: Signature((), ()), "1 to 64 inputs"),
    (lambda: Signature((Port("z", "latent", (8,)),), PLAIN.outputs), "a latent that goes in has a prior"),
    (lambda: Signature(PLAIN.inputs, PLAIN.inputs), "two ports are called z"),
    (lambda: Signature(PLAIN.inputs, (Port("image", "image", (3, "H", "W")),)), "no input has the size H"),
    (lambda: Signature(PLAIN.inputs, PLAIN.outputs, {"H": Size()}), "sizes are stated of H, the inputs have"),
    (lambda: dataclasses.replace(WIDE, sizes={"H": Size(3, 3), "W": Size()}), "H/2 is whole only if H"),
    (lambda: Signature((Port("a", "image", (1, 2, 2), stream=8), Port("b", "image", (1, 2, 2), stream=8)),
                       PLAIN.outputs), "the same stream"),
    (lambda: Signature(tuple(Port(f"i{n}", "image", (1, 2, 2)) for n in range(9)), PLAIN.outputs), "port i8: more"),
    (lambda: Signature(PLAIN.inputs, PLAIN.outputs, batch=0), "batch is at least 1"),
])  # fmt: skip
def test_what_no_generator_has_is_refused_when_it_is_made(build: Any, message: str) -> None:
    with pytest.raises(GanExportError, match=r"^[^\n]*$") as e:
        build()
    assert message in str(e.value)


@pytest.mark.parametrize("signature", [PLAIN, WIDE, dataclasses.replace(PLAIN, batch=4)])
def test_a_signature_reads_back_what_it_writes(signature: Signature) -> None:
    text = signature.to_json()
    again = Signature.from_json(text)
    assert again == signature
    assert again.to_json() == text
    assert pickle.loads(pickle.dumps(signature)) == signature
    assert "\n" not in text
    assert hash(again) == hash(signature)


def test_a_signature_is_read_from_toml() -> None:
    text = """
    inputs = [
      { name = "z", kind = "latent", shape = [512], prior = { truncated_normal = 2 } },
      { name = "input", kind = "image", shape = [3, "H", "W"], range = [-1, 1] },
    ]
    outputs = [{ name = "image", kind = "image", shape = [3, "H", "W"], range = [-1, 1] }]
    sizes = { H = [8, 4, 4096], W = [8, 4, 4096] }
    """
    signature = Signature.from_data(tomllib.loads(text))
    assert signature.input("z").prior == TruncatedNormal(2)
    assert signature.input("z").stream == 0
    assert signature.sizes["W"] == Size(8, 4, 4096)
    assert not signature.is_sampled
    assert PLAIN.is_sampled


@pytest.mark.parametrize(("change", "message"), [
    ({"inputs": None}, "inputs are a list of ports"),
    ({"inputs": [3]}, "a port is a table"),
    ({"inputs": [{"name": "z"}]}, "a port lacks kind"),
    ({"inputs": [{"name": 3, "kind": "latent"}]}, "not an identifier"),
    ({"inputs": [{"name": "z", "kind": ["latent"]}]}, "is not known"),
    ({"inputs": [{"name": "z", "kind": "latent", "shape": 100}]}, "a port's shape is a list"),
    ({"inputs": [{"name": "z", "kind": "latent", "shape": [[1]]}]}, "its shape"),
    ({"inputs": [{"name": "z", "kind": "latent", "shape": [1.5]}]}, "its shape"),
    ({"inputs": [{"name": "z", "kind": "latent", "shape": [2], "prior": "cauchy"}]}, "prior cauchy"),
    ({"inputs": [{"name": "z", "kind": "latent", "shape": [2], "prior": {"uniform": ["a", 1]}}]}, "low <= high"),
    ({"inputs": [{"name": "z", "kind": "latent", "shape": [2], "prior": {"uniform": [0]}}]}, "prior"),
    ({"inputs": [{"name": "z", "kind": "latent", "shape": [2], "prior": "normal", "rank": 2}]}, "no field rank"),
    ({"inputs": [{"name": "z", "kind": "latent", "shape": [2], "prior": "normal", "stream": "0"}]}, "stream"),
    ({"inputs": [{"name": "y", "kind": "label", "classes": "3"}]}, "classes are 0"),
    ({"inputs": [{"name": "y", "kind": "label", "classes": True}]}, "classes are 0"),
    ({"inputs": [{"name": "x", "kind": "image", "shape": [1, 2, 2], "range": 1}]}, "range is [low, high]"),
    ({"inputs": [{"name": "x", "kind": "image", "shape": [1, 2, 2], "range": [0]}]}, "range is low, high"),
    ({"inputs": [{"name": "x", "kind": "image", "shape": [1, 2, 2], "dtype": 3}]}, "dtype 3 is not known"),
    ({"inputs": [{"name": "x", "kind": "image", "shape": [1, 2, 2], "layout": ["CHW"]}]}, "no image has the layout"),
    ({"sizes": [1]}, "sizes are a table"),
    ({"sizes": {"H": 3}}, "size H is [least, multiple, most]"),
    ({"sizes": {"H": [1, 1, "x"]}}, "size 1 to x"),
    ({"batch": "4"}, "batch is at least 1"),
    ({"batch": True}, "batch is at least 1"),
    ({"nz": 100}, "a signature has no field nz"),
])  # fmt: skip
def test_data_that_is_no_signature_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(GanExportError, match=r"^[^\n]*$") as e:
        Signature.from_data(PLAIN.to_data() | change)
    assert message in str(e.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, '{"inputs": []}', "null"])
def test_text_that_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(GanExportError):
        Signature.from_json(text)


def test_every_byte_of_a_written_signature_is_checked() -> None:
    """Any value of another type is refused or read as what it says: never an error of Python's own."""
    text = json.loads(WIDE.to_json())

    def mutations(data: Any) -> Any:
        yield from (None, True, -1, 1.5, "x", [], {}, [[]], 10**30)
        if isinstance(data, dict):
            for key, value in data.items():
                yield from ({**data, key: v} for v in mutations(value))
        elif isinstance(data, list):
            for i, value in enumerate(data):
                yield from ([*data[:i], v, *data[i + 1 :]] for v in mutations(value))

    refused = 0
    for changed in mutations(text):
        try:
            again = Signature.from_data(changed)
        except GanExportError:
            refused += 1
        else:
            assert Signature.from_json(again.to_json()) == again
    assert refused > 500


def test_the_signature_imports_no_heavy_library() -> None:
    code = "import sys, gan_export.graph.signature; print([m for m in ('torch', 'onnx', 'PIL') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_truncated_normal_is_the_normal_table_without_its_tails() -> None:
    for bound in (0.5, 1.0, 2.0, 10.0):
        table = latents.truncated_normal_table(bound)
        assert np.abs(table).max() <= bound
        assert np.array_equal(table, -table[::-1]) or bound < 10
        inside = latents.normal_table()[np.abs(latents.normal_table()) <= bound]
        assert set(table.tolist()) == set(inside.tolist())
        assert abs(float(table.std()) - float(inside.std())) < 1e-3
    assert np.array_equal(latents.truncated_normal_table(10.0), latents.normal_table())


def test_the_uniform_table_is_that_of_the_law() -> None:
    exact = ((np.arange(65536) + 0.5) / 32768 - 1).astype(np.float32)
    assert np.array_equal(latents.uniform_table(), exact)
    digest = hashlib.sha256(latents.uniform_table().astype("<f4").tobytes()).hexdigest()
    assert digest == hashlib.sha256(exact.astype("<f4").tobytes()).hexdigest()
    assert set(latents.uniform_table(0.25, 0.25).tolist()) == {0.25}


def test_dropout_drops_the_stated_share() -> None:
    keeps = latents.dropout_keeps(0, np.arange(64, dtype=np.uint64), 4096, 0.3)
    assert abs(keeps.mean() - 0.7) < 0.005
    assert latents.dropout_keeps(0, np.arange(2, dtype=np.uint64), 9, 0.0).all()
    for rate, layer in ((1.0, 0), (-0.1, 0), (0.5, -1), (0.5, 1 << 20)):
        with pytest.raises(GanExportError):
            latents.dropout_keeps(0, np.arange(2, dtype=np.uint64), 9, rate, layer)
