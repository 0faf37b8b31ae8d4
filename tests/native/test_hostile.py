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
from pathlib import Path

import numpy as np
import pytest

from gan_export.arch.layers import Activation, ConvTranspose, Linear, Reshape
from gan_export.arch.spec import Chain, GeneratorSpec
from gan_export.errors import GanExportError
from gan_export.export.native import HEADER, RECORD, encode
from gan_export.runtimes.native import Model

from .conftest import Write, random_weights, transposed
from .mutate import MAX_MEMORY, reseal

ROOT = Path(__file__).parents[2]
SPEC = transposed((24, 16), 3, 13)


def mutated(count: int, seed: int) -> None:
    command = [sys.executable, "-m", "tests.native.mutate", str(count), str(seed)]
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
    spec = GeneratorSpec("test", 4, "normal", (1, 2, 2), (-1.0, 1.0), tuple(c))
    weights = random_weights(spec)
    path = tmp_path / "stray.gan"
    path.write_bytes(encode(spec, weights))
    with Model(path) as model:
        got = model.generate_floats(1, 3)
        z = model.latents(1, 0, 3)
    want = np.tanh(z @ weights["picture.weight"].T + weights["picture.bias"]).reshape(3, 1, 2, 2)
    assert np.abs(got - want).max() < 1e-6


def test_a_stride_beyond_reason_is_refused(write: Write, tmp_path: Path) -> None:
    c = Chain()
    c.add(Reshape, "seed", shape=(3, 1, 1))
    c.add(ConvTranspose, "up", in_channels=3, out_channels=1, kernel=1, stride=64)
    spec = GeneratorSpec("test", 3, "normal", (1, 1, 1), None, tuple(c))
    path = write(spec, random_weights(spec))
    with Model(path) as model:  # 64 is possible
        assert model.generate(1, 2, threads=2).shape == (2, 1, 1, 1)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, HEADER + RECORD + 40 + 4 * 3, 65536)
    path.write_bytes(reseal(data))
    with pytest.raises(GanExportError, match="layer or size"):
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
    spec = GeneratorSpec("test", 3, "normal", (1, 2, 2), None, tuple(c))
    path = write(spec, random_weights(spec))
    with Model(path) as model:
        assert model.generate(1, 2).shape == (2, 2, 2, 1)
    data = bytearray(path.read_bytes())
    struct.pack_into("<3I", data, HEADER + RECORD + 40 + 4 * 3, 2, 1, 1)  # stride, padding, output padding
    path.write_bytes(reseal(data))
    with pytest.raises(GanExportError, match="layer or size"):
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
import os, signal, sys, gan_export
model = gan_export.open(sys.argv[1])
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
import os, signal, sys, threading, gan_export
from gan_export.errors import GanExportError
model = gan_export.open(sys.argv[1])
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


def fork_beside_a_drawing(path: Path, forks: int) -> None:
    done = subprocess.run([sys.executable, "-c", FORKS, path, str(forks)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["0", "0", "0"], done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_forks_beside_a_drawing_thread_never_hang(write: Write) -> None:
    fork_beside_a_drawing(write(SPEC, random_weights(SPEC)), 60)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_thousand_forks_beside_a_drawing_thread_never_hang(write: Write) -> None:
    fork_beside_a_drawing(write(SPEC, random_weights(SPEC)), 1000)


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
