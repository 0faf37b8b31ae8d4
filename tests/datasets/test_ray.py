"""Test a real Ray cluster of several nodes on this machine: it writes the bytes of one machine, whatever is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gan_export.datasets import generator_files, manifest
from gan_export.datasets.ray_process import ActorResources, ShardActor, seats
from gan_export.datasets.run import DatasetRequest, make_job
from gan_export.datasets.store import Folder
from gan_export.datasets.writer import GeneratorSource
from gan_export.errors import GanExportError
from tests.conftest import Command, interruptible, refused
from tests.datasets.conftest import SEED, write_generator
from tests.datasets.test_runs import files

PICTURES, SHARD = 10_000, 200
ARGUMENTS = ("-n", PICTURES, "--seed", SEED, "--shard-size", SHARD, "--format", "npy")
PROGRAM = "from gan_export.cli.sample import main; main()"


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """Start a head without cores, and nodes of one core each."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="no Ray here: pip install ray")
    options = {"include_dashboard": False, "object_store_memory": 1 << 27}
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **options})
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=1, object_store_memory=1 << 27)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def start(gan: Path, out: Path, *arguments: object) -> subprocess.Popen[bytes]:
    words = ["dataset", gan, *ARGUMENTS, "-o", out, *arguments]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)], stderr=subprocess.PIPE, preexec_fn=interruptible
    )


def finished(out: Path) -> int:
    return len(list((out / ".gan-sample" / "shards").glob("[!.]*.json")))


def wait_for_shards(out: Path, run: subprocess.Popen[bytes], count: int) -> None:
    deadline = time.monotonic() + 180
    while finished(out) < count:
        assert run.poll() is None, run.stderr and run.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_nothing_of_rays(err: str) -> None:
    """Check that only progress is printed, which appears on a slow machine."""
    assert all("img/s" in line for line in err.splitlines()), err


def actors() -> list[int]:
    """Return the process ids of the actors."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and (process / "cmdline").read_bytes().startswith(b"ray::ShardActor"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def end_actors() -> None:
    deadline = time.monotonic() + 30
    while left := actors():
        assert time.monotonic() < deadline
        for actor in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(actor, signal.SIGKILL)
        time.sleep(0.05)


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generator(tmp_path_factory.mktemp("small") / "g.gan", 0)


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a generator that is wide enough for a run to last while things are killed."""
    return write_generator(tmp_path_factory.mktemp("wide") / "g.gan", 0, width=256)


@pytest.fixture(scope="module")
def whole(gan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the dataset as this machine generates it without a cluster."""
    folder = tmp_path_factory.mktemp("whole") / "d"
    run = start(gan, folder)
    assert run.wait(timeout=200) == 0, run.stderr and run.stderr.read()
    return folder


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the actors in /proc")
def test_a_cluster_draws_the_same_bytes_whatever_dies(
    command: Command, gan: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")  # a minute, and that is waited for, without
    out = tmp_path / "d"
    with cluster(2) as here:
        run = start(gan, out, "--ray", here.address)
        try:
            wait_for_shards(out, run, 3)
            os.kill(actors()[0], signal.SIGKILL)
            wait_for_shards(out, run, finished(out) + 3)
            here.remove_node(here.list_all_nodes()[-1], allow_graceful=False)  # with its actor
            wait_for_shards(out, run, finished(out) + 3)
            for actor in actors():
                os.kill(actor, signal.SIGSTOP)  # stopped, so that they can't finish the work meanwhile
            here.remove_node(here.head_node, allow_graceful=False)
            _, err = run.communicate(timeout=120)
        finally:
            run.kill()
        assert run.returncode == 2, err
        lines = [line for line in err.decode().strip().splitlines() if "img/s" not in line]  # progress
        assert len(lines) == 1
        assert "the cluster was lost" in lines[0]
        assert "run the command again" in lines[0]
    end_actors()  # one that was stopped, or has just begun, can outlive its node, and finish a shard after the count
    done = finished(out)
    assert 9 <= done < PICTURES // SHARD
    assert not (out / "MANIFEST.json").exists()
    with cluster(1) as here:
        result = command("gan-sample", "dataset", gan, *ARGUMENTS, "-o", out, "--ray", here.address)
    assert result.code == 0, result
    assert_nothing_of_rays(result.err)
    assert f"{done} shards from an earlier run" in result.out
    assert files(out) == files(whole)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the actors in /proc")
def test_an_interrupt_ends_a_cluster_of_its_own_and_one_machine_goes_on(
    command: Command, gan: Path, whole: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="no Ray here: pip install ray")
    out = tmp_path / "d"
    run = start(gan, out, "--ray", "local")
    try:
        wait_for_shards(out, run, 2)
        assert actors()
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130
    assert err.decode().splitlines()[-1] == (
        "gan-sample: interrupted; run the same command again to continue"  # after lines of progress, if it took long
    )
    deadline = time.monotonic() + 30
    while actors():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    result = command("gan-sample", "dataset", gan, *ARGUMENTS, "-o", out)
    assert result.code == 0, result
    assert "from an earlier run" in result.out
    assert files(out) == files(whole)


@pytest.mark.long
def test_filters_and_files_written_in_place(command: Command, labeled_gan: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="no Ray here: pip install ray")
    arguments = ("-n", 300, "--seed", SEED, "--shard-size", 100, "--format", "raw", "--filter", "confidence<0.5")
    for name, more in (("alone", ()), ("ray", ("--ray", "local"))):
        result = command("gan-sample", "dataset", labeled_gan, *arguments, *more, "-o", tmp_path / name)
        assert result.code == 0, result
        assert_nothing_of_rays(result.err)
    assert files(tmp_path / "alone") == files(tmp_path / "ray")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ray", "auto"), "--format"),
        (("--ray", "nonsense", "--format", "npy"), "HOST:PORT"),
        (("--ray", "ray://127.0.0.1:10001", "--format", "npy"), "HOST:PORT"),
        (("--ray", "127.0.0.1:99999", "--format", "npy"), "HOST:PORT"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    command: Command, small: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    if "--format" in arguments:
        pytest.importorskip("ray", reason="no Ray here: pip install ray")
    assert message in refused(command("gan-sample", "dataset", small, *arguments, "-o", tmp_path / "d"))
    assert not list(tmp_path.iterdir())


def test_a_cluster_that_does_not_answer_is_one_line(command: Command, small: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="no Ray here: pip install ray")
    with socket.socket() as taken:  # nothing listens on this port
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = refused(
            command("gan-sample", "dataset", small, "--format", "npy", "--ray", address, "-o", tmp_path / "d")
        )
    assert "no cluster answers there" in line
    assert not list(tmp_path.iterdir())


def test_without_ray_the_error_has_the_install_command(small: Path, tmp_path: Path) -> None:
    program = f"import sys; sys.modules['ray'] = None; {PROGRAM}"
    words = ["dataset", small, "--format", "npy", "--ray", "auto", "-o", tmp_path / "d"]
    run = subprocess.run([sys.executable, "-c", program, *map(str, words)], check=False, capture_output=True)
    assert run.returncode == 2
    assert run.stderr.decode().splitlines()[0] == "gan-sample: --ray needs Ray: pip install ray"
    assert not list(tmp_path.iterdir())


def drawer(
    generator: Path, target: Path, contents: generator_files.Contents | None = None, **job: object
) -> ShardActor:
    """Return an actor as a node creates it, for a run of 20 images whose job has these values."""
    source = GeneratorSource(generator)
    with source.open() as opened:
        made = make_job(source, DatasetRequest(SEED, 0, 20, "png"), opened)
    made = replace(made, **job)  # type: ignore[arg-type]
    setting = {"job": made.to_data(), "source": source.to_data(), "target": str(target), "light": True, "look": False}
    Folder(target).write(manifest.JOB, json.dumps(setting["job"]).encode())
    return ShardActor(setting, contents or generator_files.read(generator), 1)


def test_an_actor_draws_from_the_files_that_it_is_sent(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="no Ray here: pip install ray")
    contents = generator_files.read(small)
    actor = drawer(small, tmp_path / "d", contents)
    small.unlink()
    assert actor.ready() == {"ready": True}
    assert actor.draw(0)["done"]["kept"] == 20
    assert len(list((tmp_path / "d" / "00000").iterdir())) == 20


def test_a_node_that_would_draw_or_write_otherwise_says_so_in_a_line(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="no Ray here: pip install ray")
    apart = drawer(small, tmp_path / "a")
    (tmp_path / "a" / manifest.JOB).unlink()  # as on a node that doesn't mount the folder
    contents = {name: data[::-1].copy() for name, data in generator_files.read(small).items()}
    for actor, message in (
        (apart, "not the folder that the run began in"),
        (drawer(small, tmp_path / "b", contents), "arrived damaged"),
        (drawer(small, tmp_path / "c", version="0.0.1"), "0.0.1 on the machine that started the run"),
        (drawer(small, tmp_path / "d", encoder="zlib 0"), "zlib 0 on the machine that started the run"),
    ):
        error = actor.ready()["error"]
        assert error.startswith("node ")
        assert message in error
        assert "\n" not in error


def test_actors_take_cores_gpus_or_nodes() -> None:
    nodes = [{"CPU": 0.0}, {"CPU": 4.0, "GPU": 2.0}, {"CPU": 2.0}]
    gan, gpu = GeneratorSource(Path("g.gan")), GeneratorSource(Path("g.onnx"), device="cuda")
    assert seats(nodes, gan, None, light=True) == [ActorResources(1, 0, 1)] * 6
    assert seats(nodes, replace(gan, threads=2), None, light=True) == [ActorResources(2, 0, 2)] * 3
    assert seats(nodes, gan, None, light=False) == [ActorResources(4, 0, 4), ActorResources(2, 0, 2)]
    assert seats(nodes, gpu, None, light=False) == [ActorResources(1, 1, None)] * 2
    assert len(seats(nodes, gan, 8, light=True)) == 8  # two wait for another node
    with pytest.raises(GanExportError, match="no GPU"):
        seats(nodes[2:], gpu, None, light=False)
    with pytest.raises(GanExportError, match="free CPU"):
        seats(nodes[:1], gan, None, light=True)


def test_weights_beside_a_file_travel_and_count(tmp_path: Path) -> None:
    import numpy as np
    import onnx

    weight = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    graph = onnx.helper.make_graph([], "g", [], [], [weight])
    path = tmp_path / "g.onnx"
    onnx.save(onnx.helper.make_model(graph), path, save_as_external_data=True, location="g.onnx.data", size_threshold=0)
    before = generator_files.sha256(path)
    there = tmp_path / "there"
    there.mkdir()
    generator_files.lay_down(generator_files.read(path), there)
    assert generator_files.sha256(there / "g.onnx") == before
    (there / "g.onnx.data").write_bytes(bytes(64 * 64 * 4))
    assert generator_files.sha256(there / "g.onnx") != before
