"""A `.gan` file is data: whatever it says, an error or a picture.  And what a program does to an open model."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gan_export.errors import GanExportError
from gan_export.exporters import gan_file
from gan_export.exporters.gan_file import PortEntry, Record, TensorEntry
from gan_export.exporters.native import encode
from gan_export.graph.layers import Activation, ConvTranspose, Linear, Reshape
from gan_export.graph.spec import Chain, GeneratorSpec
from gan_export.runtimes.native import Model

from .conftest import Write, random_weights, transposed
from .mutate import MAX_MEMORY, SLOWEST, reseal

ROOT = Path(__file__).parents[2]
SPEC = transposed((24, 16), 3, 13)


def mutated(count: int, seed: int) -> None:
    command = [sys.executable, "-m", "tests.engine.mutate", str(count), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) drawn, (\d+) KiB", done.stdout)
    assert found is not None
    assert int(found[1]) > count / 50  # else the mutations don't reach what they should
    assert int(found[2]) * 1024 < 2 * MAX_MEMORY + (16 << 20)  # and what pictures of 4 million numbers take


def test_mutated_files_end_in_an_error_or_a_picture() -> None:
    mutated(1000, 1)


@pytest.mark.long
def test_many_mutated_files_end_in_an_error_or_a_picture() -> None:
    mutated(20_000, 2)


def test_what_the_picture_does_not_depend_on_is_left_out(tmp_path: Path) -> None:
    """A large layer that nothing reads, after the one whose activation is the picture, once was drawn instead."""
    c = Chain()
    a = c.add(Linear, "picture", inputs=("z",), in_features=4, out_features=4)
    c.add(Linear, "stray", inputs=("z",), in_features=4, out_features=5000)
    c.add(Reshape, "grid", inputs=(a,), shape=(1, 2, 2))
    c.add(Activation, "tanh", kind="tanh")
    spec = GeneratorSpec.of_latent("test", 4, "normal", (1, 2, 2), (-1.0, 1.0), tuple(c))
    weights = random_weights(spec)
    path = tmp_path / "stray.gan"
    path.write_bytes(encode(spec, weights))
    with Model(path) as model:
        got = model.generate_floats(1, 3)
        z = model.latents(1, 0, 3)
    want = np.tanh(z @ weights["picture.weight"].T + weights["picture.bias"]).reshape(3, 1, 2, 2)
    assert np.abs(got - want).max() < 1e-6


def with_attribute(data: bytes, key: str, number: int) -> bytes:
    """A file whose only layer with this integer attribute has another number in it."""
    changed = bytearray(data)
    at = data.index(key.encode().ljust(16, b"\0"))
    struct.pack_into("<q", changed, at + 24, number)
    return reseal(changed)


def test_a_stride_beyond_reason_is_refused(write: Write, tmp_path: Path) -> None:
    c = Chain()
    c.add(Reshape, "seed", shape=(3, 1, 1))
    c.add(ConvTranspose, "up", in_channels=3, out_channels=1, kernel=1, stride=64)
    spec = GeneratorSpec.of_latent("test", 3, "normal", (1, 1, 1), None, tuple(c))
    path = write(spec, random_weights(spec))
    with Model(path) as model:  # 64 is possible
        assert model.generate(1, 2, threads=2).shape == (2, 1, 1, 1)
    path.write_bytes(with_attribute(path.read_bytes(), "stride", 65536))
    with pytest.raises(GanExportError, match=r"layer 1 up \(CONV_TRANSPOSE\): stride 65536, at most 64"):
        Model(path)
    up = dataclasses.replace(spec.layers[1], stride=65)
    beyond = dataclasses.replace(spec, layers=(spec.layers[0], up))
    with pytest.raises(GanExportError, match=r"layer up .*stride 65"):
        encode(beyond, random_weights(spec))


def test_a_transposed_convolution_that_leaves_no_pixels_is_refused(write: Write) -> None:
    """An output of 0 x 0 once passed for a vector."""
    c = Chain()
    c.add(Reshape, "seed", shape=(3, 1, 1))
    c.add(ConvTranspose, "up", in_channels=3, out_channels=4, kernel=1)
    c.add(Reshape, "grid", shape=(1, 2, 2))
    spec = GeneratorSpec.of_latent("test", 3, "normal", (1, 2, 2), None, tuple(c))
    path = write(spec, random_weights(spec))
    with Model(path) as model:
        assert model.generate(1, 2).shape == (2, 2, 2, 1)
    data = path.read_bytes()
    for key, number in (("stride", 2), ("padding", 1), ("output_padding", 1)):
        data = with_attribute(data, key, number)
    path.write_bytes(data)
    with pytest.raises(GanExportError, match=r"layer 1 up \(CONV_TRANSPOSE\): its attributes"):
        Model(path)


def ported(nz: int, image: tuple[int, int, int], layers: int) -> tuple[PortEntry, ...]:
    def fixed(*sides: int) -> tuple[gan_file.Dim, ...]:
        return tuple((0, side, 1) for side in sides)

    z = PortEntry("z", "latent", fixed(nz), prior=("normal", 0.0, 0.0))
    return z, PortEntry("image", "image", fixed(*image), output=True, value=layers)


def to_one_pixel(inputs: int = 1) -> Record:
    shape = {"channels": (inputs,), "height": (1,), "width": (1,)}
    return Record(10, "pixel", (0,), (), shape)


def convolutions(count: int, inputs: int, kernel: int, dtype: str) -> bytes:
    """Layers of kernel x kernel weights, which all lie in the same bytes of the file."""
    at = dict.fromkeys(("in", "out"), (inputs,)) | {"kernel": (kernel,), "stride": (1,), "padding": (kernel // 2,)}
    weight = TensorEntry("weight", dtype, (inputs, inputs, kernel, kernel), b"")
    records = [to_one_pixel(inputs), *(Record(3, f"conv{i}", (i + 1,), (weight,), at) for i in range(count))]
    head = bytearray(gan_file.encode(ported(inputs, (inputs, 1, 1), count + 1), records))
    data = bytes(-(-inputs * inputs * kernel * kernel * (4 if dtype == "float32" else 2) // 64) * 64)
    struct.pack_into("<Q", head, 16, len(head) + len(data))
    struct.pack_into("<Q", head, 48, len(data))
    return gan_file.sealed(bytes(head), data)


@pytest.mark.parametrize(
    ("count", "inputs", "kernel", "dtype"),
    [(255, 32, 33, "bfloat16"), (510, 1, 63, "float32"), (511, 600, 1, "bfloat16")],
    ids=["large kernels", "long to plan", "linear"],
)
def test_weights_that_lie_in_one_place_are_refused(
    count: int, inputs: int, kernel: int, dtype: str, tmp_path: Path
) -> None:
    """Megabytes once asked for gigabytes, or for minutes of planning."""
    path = tmp_path / "shared.gan"
    path.write_bytes(convolutions(count, inputs, kernel, dtype))
    with pytest.raises(GanExportError, match="changed since"):
        Model(path)
    path.write_bytes(convolutions(1, inputs, kernel, dtype))  # one has them for itself
    with Model(path) as model:
        assert sum(model.memory(1, threads=1)) < 1024 * path.stat().st_size + (1 << 20)


def test_a_kernel_or_an_upsampling_beyond_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.gan"
    path.write_bytes(convolutions(1, 1, 65, "float32"))
    with pytest.raises(GanExportError, match=r"(kernel|factor) 65, at most 64"):
        Model(path)
    for factor in (65, 16384):
        grow = Record(6, "grow", (1,), (), {"factor": (factor,), "bilinear": (0,)})
        path.write_bytes(gan_file.encode(ported(1, (1, factor, factor), 2), [to_one_pixel(), grow]))
        with pytest.raises(GanExportError, match=rf"factor {factor}, at most 64"):
            Model(path)


def test_half_of_the_machine_s_memory_is_the_bound_unless_one_is_given(tmp_path: Path) -> None:
    """A file of a thousand bytes whose image is 2^28 numbers once asked for 32 GiB."""
    path = tmp_path / "large.gan"
    grow = [Record(6, f"grow{i}", (i + 1,), (), {"factor": (64,), "bilinear": (1,)}) for i in range(2)]
    pad = Record(21, "pad", (3,), (), {"size": (6144,), "mode": (0,)})
    scale = Record(12, "scale", (4,), (), {}, {"factor": (2.0,), "offset": (0.0,)})
    path.write_bytes(gan_file.encode(ported(1, (1, 16384, 16384), 5), [to_one_pixel(), *grow, pad, scale]))
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") // 2
    with Model(path) as model:
        try:
            assert sum(model.memory(1, threads=1)) <= half
        except GanExportError as e:
            assert "memory" in str(e)  # noqa: PT017
    with Model(path, max_memory=64 << 30) as model:
        assert sum(model.memory(1, threads=1)) > 16 << 30


def test_many_layers_are_opened_and_planned_in_little_time(tmp_path: Path) -> None:
    """16,384 layers, half of their values alive at once; SLOWEST seconds are the fuzzer's bound, too."""
    path = tmp_path / "many.gan"
    acts = [Record(5, "a", (i + 1,), (), {"kind": (1,)}, {"slope": (0.0,)}) for i in range(8191)]
    adds = [Record(7, "s", (8192 + i, 8191 - i), ()) for i in range(8191)]
    path.write_bytes(gan_file.encode(ported(1, (1, 1, 1), 1 + 8191 + 8191), [to_one_pixel(), *acts, *adds]))
    began = time.process_time()
    with Model(path, max_memory=64 << 20) as model:
        assert model.generate(1, 3, threads=1).shape == (3, 1, 1, 1)
    assert time.process_time() - began < SLOWEST
    with pytest.raises(GanExportError, match="16384 layers"):
        gan_file.encode((), [to_one_pixel()] * 16385)


def restated(data: bytes) -> tuple[int, int]:
    """docs/gan-file-format.md's checksum, word by word."""
    first = second = 0
    for at in range(0, len(data), 8):
        word = int.from_bytes(data[at : at + 8], "little")
        first ^= word
        second = (second << 1 & 2**64 - 1) ^ (0x1B if second >> 63 else 0) ^ word
    return first, second


def test_ports_that_the_engine_does_not_run_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "noise.gan"
    z, image = ported(1, (1, 1, 1), 1)
    noise = PortEntry("noise0", "noise", ((0, 4, 1), (0, 4, 1)), prior=("normal", 0.0, 0.0), stream=16)
    second = dataclasses.replace(z, name="z2")
    scalar = PortEntry("psi", "scalar", ((0, 4, 1),))
    rows = PortEntry("ws", "values", ((0, 4, 1), (0, 70000, 1)))
    for port, message in (
        (noise, "the input noise0 is noise of a type, shape"),
        (scalar, "the input psi is scalar of a type, shape"),
        (rows, "the input ws is values of a type, shape"),
        (second, "the input z2 is latent"),
        (dataclasses.replace(second, kind="style"), "the input z2 is style"),
    ):
        path.write_bytes(gan_file.encode((z, port, dataclasses.replace(image, value=2)), [to_one_pixel()]))
        with pytest.raises(GanExportError, match=message):
            Model(path)


def test_the_fields_that_mean_nothing_for_a_port_are_zeros(tmp_path: Path) -> None:
    """Behind a name, the second parameter of a prior that has one, classes of what is no label, an input's value."""
    path = tmp_path / "port.gan"
    z, image = ported(1, (1, 1, 1), 1)
    for port in (
        dataclasses.replace(z, name="z\0x"),
        dataclasses.replace(z, prior=("normal", 0.0, 1.0)),
        dataclasses.replace(z, classes=3),
        dataclasses.replace(z, value=1),
    ):
        path.write_bytes(gan_file.encode((port, image), [to_one_pixel()]))
        with pytest.raises(GanExportError, match="changed since"):
            Model(path)
    path.write_bytes(gan_file.encode((z, dataclasses.replace(image, prior=("uniform", -1.0, 1.0))), [to_one_pixel()]))
    with pytest.raises(GanExportError, match="changed since"):
        Model(path)


def test_every_pair_of_flipped_bits_shows() -> None:
    """In the checksum of 40 words: no pair of bits cancels, nor does any exchange of two words."""
    rng = np.random.default_rng(5)
    data = bytearray(rng.integers(0, 256, 320, dtype=np.uint8).tobytes())
    whole = restated(data)
    assert gan_file.checksum(bytes(data)) == whole
    changes = []
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        first, second = restated(data)
        changes.append((first ^ whole[0], second ^ whole[1]))
        data[bit // 8] ^= 1 << bit % 8
    assert (0, 0) not in changes
    assert len(set(changes)) == len(changes)  # the checksum is linear: two changes cancel only if they are alike
    for i in range(39):
        for j in range(i + 1, 40):
            other = bytearray(data)
            other[8 * i : 8 * i + 8], other[8 * j : 8 * j + 8] = data[8 * j : 8 * j + 8], data[8 * i : 8 * i + 8]
            assert restated(other) != whole


def test_two_flipped_signs_of_weights_are_refused(write: Write) -> None:
    """The sums of versions 1 and 2 cancel in words of one parity."""
    path = write(SPEC, random_weights(SPEC))
    whole = path.read_bytes()
    data = struct.unpack_from("<Q", whole, 40)[0]
    for one, other in ((7, 23), (7, 15), (3, 19), (7, 7 + 64), (1, 5)):
        damaged = bytearray(whole)
        damaged[data + one] ^= 0x80
        damaged[data + other] ^= 0x80
        path.write_bytes(bytes(damaged))
        with pytest.raises(GanExportError, match="changed since"):
            Model(path)


def test_changing_the_file_changes_nothing_that_is_open(write: Write) -> None:
    path = write(SPEC, random_weights(SPEC))
    with Model(path) as model:
        want = Model(path).generate(3, 4)
        os.truncate(path, 100)
        np.testing.assert_array_equal(model.generate(3, 4), want)
        path.write_bytes(b"\x00" * 100_000)
        np.testing.assert_array_equal(model.generate(3, 4), want)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_forked_child_draws_the_same(write: Write) -> None:
    code = """
import os, signal, sys
from gan_export.runtimes.native import Model
model = Model(sys.argv[1])
want = model.generate(3, 40, threads=3).tobytes()
child = os.fork()
if child:
    _, how = os.waitpid(child, 0)
    sys.exit(how or model.generate(3, 40, threads=3).tobytes() != want)
signal.alarm(60)
same = model.generate(3, 40, threads=3).tobytes() == want
model.close()
os._exit(not same)
"""
    path = write(SPEC, random_weights(SPEC))
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


FORKS = """
import os, signal, sys, threading
from gan_export.runtimes.native import Model
from gan_export.errors import GanExportError
model = Model(sys.argv[1])
want = [model.generate(3, n, threads=2).tobytes() for n in (1, 4)]
ends = []

def draw():  # five contexts in turn, of which three are kept: some are being made at any moment
    while not ends:
        for n in (1, 2, 4, 8, 16):
            model.generate(3, n, threads=2)

thread = threading.Thread(target=draw)
thread.start()
hung = refused = wrong = 0
for i in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            same = [model.generate(3, n, threads=2).tobytes() for n in (1, 4)] == want if i % 20 == 0 else True
            model.memory(4)
        except GanExportError as e:
            os._exit(2 if str(e).count("\\n") == 0 else 3)
        os._exit(not same)
    how = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    hung, refused, wrong = hung + (how < 0), refused + (how == 2), wrong + (how in (1, 3))
ends.append(1)
thread.join()
print(hung, refused, wrong)
"""


WIDE = transposed((256, 128, 64), 1, 100)  # whose contexts take milliseconds to make


def fork_beside_a_drawing(path: Path, forks: int) -> None:
    done = subprocess.run([sys.executable, "-c", FORKS, path, str(forks)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["0", "0", "0"], done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_forks_beside_a_drawing_thread_never_hang(write: Write) -> None:
    fork_beside_a_drawing(write(WIDE, random_weights(WIDE)), 20)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_thousand_forks_beside_a_drawing_thread_never_hang(write: Write) -> None:
    fork_beside_a_drawing(write(WIDE, random_weights(WIDE)), 1000)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_signals_during_a_drawing(write: Write) -> None:
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        with Model(write(SPEC, random_weights(SPEC))) as model:
            want = model.generate(3, 300)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            for _ in range(20):
                np.testing.assert_array_equal(model.generate(3, 300), want)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen


def use_until_closed(model: Model, ended: list[str]) -> None:
    try:
        while True:
            model.generate(1, 5, threads=2)
            model.latents(1, 0, 500)
            model.memory(9)
    except GanExportError as e:
        ended.append(str(e))


def test_closing_beside_other_calls_is_an_error_and_no_crash(write: Write) -> None:
    path = write(SPEC, random_weights(SPEC))
    for _ in range(20):
        model, ended = Model(path), []

        threads = [threading.Thread(target=use_until_closed, args=(model, ended)) for _ in range(3)]
        for thread in threads:
            thread.start()
        model.close()
        for thread in threads:
            thread.join()
        assert len(ended) == 3
        assert all("is closed" in e for e in ended)


def test_numbers_outside_the_law_for_latents_too(write: Write) -> None:
    with Model(write(SPEC, random_weights(SPEC))) as model:
        for seed, start, count in ((-1, 0, 1), (2**64, 0, 1), (0, -1, 1), (0, 2**64 - 1, 2), (0, 2**64, 0), (0, 0, -1)):
            with pytest.raises(GanExportError, match=r"2\^64-1|negative"):
                model.latents(seed, start, count)
    with pytest.raises(GanExportError, match="NUL"):
        Model("a\0b.gan")
