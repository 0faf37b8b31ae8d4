"""Test a session in a process of its own: the same images, none of its output, and a correct report of its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gan_export import images, latents
from gan_export.errors import GanExportError
from gan_export.graph.signature import Signature
from gan_export.runtimes import find
from gan_export.runtimes.base import run_latents
from gan_export.runtimes.subprocess_session import RemoteSession, open_remote

REPOSITORY = str(Path(__file__).resolve().parents[2])
SIGNATURE = Signature.of_latent(10, "normal", (1, 32, 32))
Z = np.random.default_rng(0).standard_normal((4, 10), dtype=np.float32)


def planted(name: str, files: dict[str, Path]) -> RemoteSession:
    return open_remote(
        "onnxruntime", files["onnx"], threads=1, registry=f"tests.runtimes.planted.{name}", search=(REPOSITORY,)
    )


def test_draws_what_the_runtime_draws_here(files: dict[str, Path]) -> None:
    here = find("onnxruntime").load(files["onnx"], threads=1)
    with open_remote("onnxruntime", files["onnx"], threads=1) as session:
        assert session.info == here.info
        assert session.pid != os.getpid()
        assert session.seconds_to_load > 0
        np.testing.assert_array_equal(run_latents(session, Z), run_latents(here, Z))
        bound = session.bind({"z": Z})
        bound()
        np.testing.assert_array_equal(bound.outputs()["image"], run_latents(here, Z))


def test_times_blocks(files: dict[str, Path]) -> None:
    with open_remote("onnxruntime", files["onnx"], threads=1) as session:
        session.bind({"z": Z})
        samples = session.time_model(0.1, min_calls=3)
        assert sum(samples) >= 0.1e9
        assert min(samples) > 0
        assert len(session.time_model(0.0, min_calls=5, settle=2)) == 5
        (idle,) = session.time_model(0.0, clock="processor")
        assert 0 < idle < 1e9
        whole = session.time_end_to_end(seed=1, count=4, signature=SIGNATURE, min_seconds=0.0, min_calls=3)
        assert len(whole) == 3
        drawn = session.draw(seed=1, start=2, count=2, signature=SIGNATURE)
        z = latents.draw(1, 0, 4, 10)
        np.testing.assert_array_equal(drawn["image"], images.to_bytes(run_latents(session, z)[2:]))  # type: ignore[arg-type]
        memory = session.memory()
        assert memory.peak is not None
        assert 20e6 < memory.peak < 2e9
        session.unbind()
        with pytest.raises(GanExportError, match="no input is bound"):
            session.time_model(0.1)


def test_noise_on_stdout_does_not_break_the_messages(files: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    with planted("noisy", files) as session:
        assert run_latents(session, Z).shape == (4, 1, 32, 32)
    assert capfd.readouterr().out == ""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_the_death_of_a_child_is_reported_with_the_signal(files: dict[str, Path]) -> None:
    session = planted("dying", files)
    with pytest.raises(GanExportError, match="killed by SIGABRT during run"):
        run_latents(session, Z)
    with pytest.raises(GanExportError, match="closed"):
        run_latents(session, Z)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_child_suggests_memory(files: dict[str, Path]) -> None:
    session = open_remote("onnxruntime", files["onnx"], threads=1)
    os.kill(session.pid, signal.SIGKILL)
    with pytest.raises(GanExportError, match=r"SIGKILL \(out of memory, most likely\)"):
        run_latents(session, Z)


def test_errors_come_back_as_their_line(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(GanExportError, match=r"gone.onnx is no file$"):
        open_remote("onnxruntime", tmp_path / "gone.onnx")
    with pytest.raises(GanExportError, match="no runtime is called"):
        open_remote("nonesuch", files["onnx"])
    with open_remote("onnxruntime", files["onnx"], threads=1) as session:
        with pytest.raises(GanExportError, match="can't run"):
            run_latents(session, np.zeros((2, 3, 4), np.float32))
        assert run_latents(session, Z).shape == (4, 1, 32, 32)  # the session still works


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interruption_ends_the_child(files: dict[str, Path]) -> None:
    session = open_remote("onnxruntime", files["onnx"], threads=1)
    session.bind({"z": Z})
    pid = session.pid
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            session.time_model(60.0)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert gone(pid)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_a_child_does_not_outlive_a_parent_that_was_killed(files: dict[str, Path]) -> None:
    code = (
        "import sys, time; from gan_export.runtimes.subprocess_session import open_remote\n"
        f"s = open_remote('onnxruntime', {str(files['onnx'])!r}, threads=1)\n"
        "print(s.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid)


def gone(pid: int) -> bool:
    """Return whether the process ends within 10 seconds; a zombie has ended."""
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False
