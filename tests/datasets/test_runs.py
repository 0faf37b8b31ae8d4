"""Test that a dataset is complete or is reported as incomplete: kills, damage, slices, second runs, refusals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Command, interruptible, refused
from tests.datasets.conftest import COUNT, SEED

ARGUMENTS = ("-n", COUNT, "--seed", SEED, "--workers", 1, "--shard-size", 20, "--format")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(gan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished dataset of npy shards from one process.  Tests must not change it."""
    folder = tmp_path_factory.mktemp("whole") / "d"
    program = "from gan_export.cli.sample import main; main()"
    arguments = ["dataset", gan, *ARGUMENTS, "npy", "--workers", 1, "-o", folder]
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True, capture_output=True)
    return folder


def test_slices_on_many_machines_make_the_same_bytes(command: Command, gan: Path, whole: Path, tmp_path: Path) -> None:
    for part in ("2/3", "1/3", "3/3"):
        result = command("gan-sample", "dataset", gan, *ARGUMENTS, "npy", "--part", part, "-o", tmp_path / "d")
        assert result.code == 0, result
        assert ("complete" in result.out) == (part == "3/3")
        assert (tmp_path / "d" / "MANIFEST.json").exists() == (part == "3/3")
    assert files(tmp_path / "d") == files(whole)


def test_an_unfinished_dataset_fails_the_check(command: Command, gan: Path, tmp_path: Path) -> None:
    assert command("gan-sample", "dataset", gan, *ARGUMENTS, "npy", "--part", "1/2", "-o", tmp_path / "d").code == 0
    result = command("gan-sample", "check", tmp_path / "d")
    assert result.code == 1
    assert "2 of 4 shards" in result.err


@pytest.mark.parametrize("format", ["png", "npy", "raw"])
def test_damage_is_named_and_mended(command: Command, gan: Path, tmp_path: Path, format: str) -> None:
    out = tmp_path / "d"
    assert command("gan-sample", "dataset", gan, *ARGUMENTS, format, "-o", out).code == 0
    before = files(out)
    if format == "png":
        (out / "00001" / "00000023.png").unlink()
        shard = "00001"
    else:
        path = out / ("images-00001.npy" if format == "npy" else "images.npy")
        data = bytearray(path.read_bytes())
        data[-1024 * (1 if format == "npy" else 35)] ^= 1  # in shard 1
        path.write_bytes(data)
        shard = path.name
    checked = command("gan-sample", "check", out)
    assert checked.code == 1
    assert shard in checked.out
    mended = command("gan-sample", "dataset", gan, *ARGUMENTS, format, "-o", out)
    assert mended.code == 0, mended
    assert shard in mended.out
    assert "3 shards from an earlier run" in mended.out
    assert files(out) == before


def test_a_finished_dataset_is_checked_and_left(command: Command, gan: Path, whole: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*")}
    result = command("gan-sample", "dataset", gan, *ARGUMENTS, "npy", "-o", whole)
    assert result.code == 0, result
    assert "nothing: all shards were finished" in result.out
    assert {p: p.stat().st_mtime_ns for p in whole.rglob("*")} == before


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_a_dataset_that_may_only_be_read_is_checked(gan: Path, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "d"))
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)
    less = "-dac_override,-dac_read_search"
    unprivileged = ["setpriv", f"--bounding-set={less}", f"--inh-caps={less}"] if os.geteuid() == 0 else []
    program = [*unprivileged, sys.executable, "-c", "from gan_export.cli.sample import main; main()"]
    checked = subprocess.run([*program, "check", folder, "-g", gan], capture_output=True, text=True, check=False)
    drawn = subprocess.run(
        [*program, "dataset", gan, *map(str, ARGUMENTS), "png", "-o", folder], capture_output=True, check=False
    )
    folder.chmod(0o755)
    assert checked.returncode == 0, checked.stderr
    assert drawn.returncode == 2
    assert b"no permission to write" in drawn.stderr


@pytest.mark.parametrize("format", ["npy", "raw"])
def test_finished_shards_of_a_slice_are_kept_and_damaged_ones_generated_again(
    command: Command, gan: Path, tmp_path: Path, format: str
) -> None:
    """Test before there is a manifest, while a raw array is still in the run's own folder."""
    out = tmp_path / "d"
    words = ("gan-sample", "dataset", gan, *ARGUMENTS, format, "-o", out, "--part")
    assert command(*words, "1/2").code == 0
    again = command(*words, "1/2")
    assert again.code == 0, again
    assert "damaged" not in again.out + again.err
    assert "2 shards from an earlier run" in again.out
    array = out / ("images-00000.npy" if format == "npy" else ".gan-sample/images.npy")
    data = bytearray(array.read_bytes())
    data[1024 * 10] ^= 1
    array.write_bytes(data)
    mended = command(*words, "1/2")
    assert mended.code == 0, mended
    assert array.name in mended.out + mended.err
    assert "1 shards from an earlier run" in mended.out
    assert command(*words, "2/2").code == 0
    assert command("gan-sample", "check", out, "-g", gan).code == 0


def test_another_generator_and_pictures_of_another_seed_are_told(
    command: Command, gan: Path, labeled_gan: Path, whole: Path, tmp_path: Path
) -> None:
    assert "is not the generator" in refused(command("gan-sample", "check", whole, "-g", labeled_gan))
    forged = tmp_path / "d"
    assert (
        command("gan-sample", "dataset", gan, "-n", COUNT, "--seed", 8, *ARGUMENTS[4:], "npy", "-o", forged).code == 0
    )
    manifest = json.loads((forged / "MANIFEST.json").read_bytes())
    manifest["job"]["seed"] = SEED  # all hashes are right, but the images are those of another seed
    (forged / "MANIFEST.json").write_text(json.dumps(manifest))
    result = command("gan-sample", "check", forged, "-g", gan)
    assert result.code == 1
    assert "differs from the generator's" in result.out


def start(gan: Path, out: Path, *arguments: object) -> subprocess.Popen[bytes]:
    program = "from gan_export.cli.sample import main; main()"
    words = [
        "dataset",
        gan,
        "-n",
        30_000,
        "--seed",
        SEED,
        "--shard-size",
        500,
        "--format",
        "npy",
        "-o",
        out,
        *arguments,
    ]
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)], stderr=subprocess.PIPE, preexec_fn=interruptible
    )


def wait_for_shards(out: Path, run: subprocess.Popen[bytes], count: int) -> None:
    deadline = time.monotonic() + 120
    while len(list((out / ".gan-sample" / "shards").glob("[!.]*.json"))) < count:
        assert run.poll() is None, run.stderr and run.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_kill_and_run_again(command: Command, gan: Path, tmp_path: Path) -> None:
    """Kill the run in its middle (kill -9), with a second run meanwhile, and then a worker of the next run."""
    out = tmp_path / "d"
    run = start(gan, out)
    try:
        wait_for_shards(out, run, 2)
        run.send_signal(signal.SIGSTOP)  # stopped, so that it can't finish meanwhile
        words = ("-n", 30_000, "--seed", SEED, "--shard-size", 500, "--format", "npy", "-o", out)
        assert "another run is using" in refused(command("gan-sample", "dataset", gan, *words))
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    done = len(list((out / ".gan-sample" / "shards").glob("[!.]*.json")))
    assert done < 60
    assert not (out / "MANIFEST.json").exists()
    assert all(len(np.load(f, mmap_mode="r")) == 500 for f in out.glob("*.npy"))
    run = start(gan, out)
    try:
        wait_for_shards(out, run, done + 1)
        run.send_signal(signal.SIGSTOP)
        workers = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        if workers.exists():
            os.kill(int(workers.read_text().split()[0]), signal.SIGKILL)
        run.send_signal(signal.SIGCONT)
        assert run.wait(timeout=200) == 0, run.stderr and run.stderr.read()
    finally:
        run.kill()
        run.wait()
    assert command("gan-sample", "check", out, "-g", gan).code == 0
    assert sum(len(np.load(f, mmap_mode="r")) for f in out.glob("images-*.npy")) == 30_000


def test_an_interrupt_is_one_line_and_keeps_what_is_finished(gan: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    run = start(gan, out)
    try:
        wait_for_shards(out, run, 1)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130
    assert err.decode().strip() == "gan-sample: interrupted; run the same command again to continue"
    assert list(out.glob("images-*.npy"))


def test_a_folder_that_vanishes_is_one_line_and_is_not_half_made_again(gan: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    run = start(gan, out)
    try:
        wait_for_shards(out, run, 1)
        os.rename(out, tmp_path / "gone")
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 2
    assert len(err.decode().strip().splitlines()) == 1
    assert not list(out.glob("*.npy"))


def test_a_disk_that_fills_up_is_one_line(gan: Path, tmp_path: Path) -> None:
    """A limit on the size of files simulates it: a write fails in the middle of a shard."""
    program = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "from gan_export.cli.sample import main; main()"
    )
    words = ["dataset", gan, "-n", 2000, "--shard-size", 1000, "--format", "npy", "-o", tmp_path / "d"]
    run = subprocess.run([sys.executable, "-c", program, *map(str, words)], check=False, capture_output=True)
    assert run.returncode == 2
    assert len(run.stderr.decode().strip().splitlines()) == 1, run.stderr
    assert not list((tmp_path / "d").glob("*.npy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-n", 1 << 63, "--format", "npy"), "2^63-1"),
        (("-n", 10**15, "--format", "npy"), "GB are free"),
        (("-n", 10**15, "--format", "png"), "GB are free"),
        (("-n", 10**15, "--format", "raw"), "GB are free"),
        (("--format", "classes"), "no labels"),
        (("--format", "pgn"), "did you mean png"),
        (("--format", "npy", "--part", "0/4"), "K/N"),
        (("--format", "npy", "--part", "5/4"), "K/N"),
        (("--format", "npy", "--shard-size", 0), "at least 1"),
        (("--format", "npy", "--latent-scale", 1.5), "--latent-scale 1.5"),
        (("--format", "npy", "--label", 3), "no labels"),
        (("--format", "npy", "--seed", -1), "2^64-1"),
        (("--part", "1/4"), "--format"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    command: Command, gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert message in refused(command("gan-sample", "dataset", gan, *arguments, "-o", "d"))
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_else_is_left_alone(command: Command, gan: Path, whole: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    (tmp_path / "file").write_text("x")
    before = files(whole)
    for folder, message in (("letters", "other files"), ("file", "is a file")):
        assert message in refused(command("gan-sample", "dataset", gan, *ARGUMENTS, "npy", "-o", tmp_path / folder))
    assert [p.name for p in (tmp_path / "letters").iterdir()] == ["a.txt"]
    arguments = ("-n", COUNT, "--seed", 8, "--shard-size", 20, "--format", "npy", "-o", whole)
    assert "seed 7, not 8" in refused(command("gan-sample", "dataset", gan, *arguments))
    assert files(whole) == before
    assert "MANIFEST.json" in refused(command("gan-sample", "check", tmp_path / "letters"))


def test_a_raw_dataset_is_checked_by_its_url(command: Command, gan: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    out = tmp_path / "d"
    assert command("gan-sample", "dataset", gan, *ARGUMENTS, "raw", "-o", out).code == 0
    sound = command("gan-sample", "check", f"file://{out}", "-g", gan)
    assert sound.code == 0, sound
    assert "generated again: identical" in sound.out
    data = bytearray((out / "images.npy").read_bytes())
    data[-1024 * 35] ^= 1  # in shard 1
    (out / "images.npy").write_bytes(data)
    spoilt = command("gan-sample", "check", f"file://{out}")
    assert spoilt.code == 1, spoilt
    assert spoilt.out.count("damaged") == 1
    assert "images.npy was changed between bytes 20,608 and 41,088" in spoilt.out
    (out / "images.npy").write_bytes(data[:-1])
    short = command("gan-sample", "check", f"file://{out}")
    assert short.code == 1, short
    assert "another header or size" in short.out
    (out / "images.npy").unlink()
    assert command("gan-sample", "check", f"file://{out}").out.count("images.npy is missing") == 4


def test_a_stray_file_of_any_name_is_damage_and_is_mended(command: Command, gan: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    assert command("gan-sample", "dataset", gan, *ARGUMENTS, "png", "-o", out).code == 0
    before = files(out)
    try:
        open(os.fsencode(out / "00000") + b"/\xff.png", "wb").close()
    except OSError:
        pytest.skip("this file system has names in UTF-8 alone")
    checked = command("gan-sample", "check", out)
    assert checked.code == 1, checked
    assert "00000/ holds 21 files, not 20" in checked.out
    assert command("gan-sample", "dataset", gan, *ARGUMENTS, "png", "-o", out).code == 0
    assert files(out) == before
