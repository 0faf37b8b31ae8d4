"""Test parts of one job that run at once: one ends, or reopens a finished dataset, while another decides what to do."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gan_export._lib import locks
from gan_export.datasets import lock, manifest, resume
from gan_export.datasets.fsspec_store import Remote
from gan_export.datasets.plan import Partition
from gan_export.datasets.run import DatasetRequest, Report, run
from gan_export.datasets.store import MANIFEST, STATE
from gan_export.datasets.writer import GeneratorSource
from tests.datasets.conftest import COUNT, SEED
from tests.datasets.test_runs import files

FORMATS = pytest.mark.parametrize(
    "format", ["raw", *(pytest.param(name, marks=pytest.mark.long) for name in ("npy", "png"))]
)


def draw(gan: Path, out: Path, part: str = "1/1", format: str = "npy", latent_scale: float = 1.0) -> Report:
    """Run a part as the command does with --shard."""
    wish = DatasetRequest(
        SEED, 0, COUNT, format, latent_scale=latent_scale, shard_size=20, slice=Partition.parse(part), workers=1
    )
    return run(GeneratorSource(gan), wish, str(out))


def spoil(folder: Path, format: str) -> None:
    """Damage a byte of shard 0, which part 1/2 generates."""
    if format == "png":
        (folder / "00000" / "00000003.png").write_bytes(b"")
        return
    path = folder / ("images-00000.npy" if format == "npy" else "images.npy")
    data = bytearray(path.read_bytes())
    data[1024 * 10] ^= 1
    path.write_bytes(data)


def meanwhile(
    patch: pytest.MonkeyPatch, place: Any, name: str, other: Callable[[], Report], *, after: bool = False
) -> list[Report]:
    """Run another part right before, or after, the first call of a function; return a list for its report."""
    real, reports, called = getattr(place, name), list[Report](), []

    def call(*arguments: Any) -> Any:
        first = not called
        called.append(name)
        if first and not after:
            reports.append(other())
        result = real(*arguments)
        if first and after:
            reports.append(other())
        return result

    patch.setattr(place, name, call)
    return reports


@FORMATS
@pytest.mark.parametrize("moment", ["hashed", "about to reopen"])
def test_parts_that_mend_one_dataset_see_each_others_end(
    gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, moment: str
) -> None:
    out = tmp_path / "d"
    assert draw(gan, out, format=format).complete
    before = files(out)
    spoil(out, format)

    def first() -> Report:
        return draw(gan, out, "1/2", format)

    if moment == "hashed":
        mended = meanwhile(monkeypatch, resume, "faults", first, after=True)
    else:
        mended = meanwhile(monkeypatch, lock, "finishing", first)
    second = draw(gan, out, "2/2", format)
    assert [(r.complete, r.drawn, len(r.redrawn)) for r in mended] == [(True, 20, 1)]
    assert (second.complete, second.drawn, second.redrawn) == (True, 0, ())
    assert files(out) == before
    assert draw(gan, out, format=format).complete


@FORMATS
@pytest.mark.parametrize("moment", ["about to look", "about to hash"])
def test_a_part_that_is_run_again_while_the_last_one_ends_leaves_all_whole(
    gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, moment: str
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "d"
    draw(gan, whole, format=format)
    assert draw(gan, out, "1/2", format).left == 2
    place, name = (lock, "finishing") if moment == "about to look" else (resume, "faults")
    ended = meanwhile(monkeypatch, place, name, lambda: draw(gan, out, "2/2", format))
    again = draw(gan, out, "1/2", format)
    assert [r.complete for r in ended] == [True]
    assert (again.complete, again.drawn, again.redrawn) == (True, 0, ())
    assert files(out) == files(whole)


@FORMATS
def test_damage_that_a_part_finds_while_the_last_one_ends_is_mended(
    gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "d"
    draw(gan, whole, format=format)
    draw(gan, out, "1/2", format)
    spoil(out / STATE if format == "raw" else out, format)
    ended = meanwhile(monkeypatch, resume, "faults", lambda: draw(gan, out, "2/2", format), after=True)
    again = draw(gan, out, "1/2", format)
    assert [r.complete for r in ended] == [True]
    assert (again.complete, again.drawn, len(again.redrawn)) == (True, 20, 1)
    assert files(out) == files(whole)


def test_what_a_run_left_that_was_killed_at_its_very_end_hides_no_damage(gan: Path, tmp_path: Path) -> None:
    out, left = tmp_path / "d", tmp_path / "left"
    draw(gan, out, "1/2")
    shutil.copytree(out / STATE, left)
    assert draw(gan, out, "2/2").complete
    before = files(out)
    shutil.copytree(left, out / STATE)
    spoil(out, "npy")
    mended = draw(gan, out)
    assert (mended.complete, mended.drawn, len(mended.redrawn)) == (True, 20, 1)
    assert files(out) == before


def test_an_array_that_is_only_among_a_runs_own_files_is_not_removed(gan: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    draw(gan, out, format="raw")
    before = files(out)
    (out / STATE).mkdir()
    os.rename(out / "images.npy", out / STATE / "images.npy")
    assert draw(gan, out, format="raw").complete
    assert files(out) == before


class Interrupted(Remote):
    """A store without locks, in which something happens right before one of its calls, counted from 0."""

    def __init__(self, url: str, moment: int, happens: Callable[[], object]) -> None:
        super().__init__(url)
        self.calls = 0
        self._moment, self._happens = moment, happens

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self._moment + 1:
            self._happens()

    def read(self, name: str) -> bytes | None:
        self._count()
        return super().read(name)

    def write(self, name: str, data: bytes) -> None:
        self._count()
        super().write(name, data)

    def names(self, folder: str) -> list[str]:
        self._count()
        return super().names(folder)

    def remove(self, name: str) -> None:
        self._count()
        super().remove(name)


def test_parts_that_end_at_once_without_locks_both_see_it_whole(gan: Path, tmp_path: Path) -> None:
    """One part ends before any step that the other one takes at its end."""
    pytest.importorskip("fsspec")
    out = tmp_path / "d"
    draw(gan, out, latent_scale=0.5)
    whole = files(out)
    store = Remote(f"file://{out}")
    done = manifest.read(store)
    assert done is not None
    assert "latent_scale" in done.notes
    moment, calls = -1, 0
    while calls > moment:
        moment += 1
        for record in done.records:
            manifest.write_record(store, done.job, record)
        manifest.write_notes(store, done.notes)
        store.remove(MANIFEST)
        late = Interrupted(f"file://{out}", moment, lambda: resume.finish(store, done.job))
        assert resume.finish(late, done.job) == 0, moment
        assert files(out) == whole, moment
        calls = late.calls
    assert moment > 8


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="sees in /proc that the lock is waited for")
def test_who_waits_for_a_lock_whose_file_is_removed_takes_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lock"
    inside, leave = threading.Event(), threading.Event()

    def wait() -> None:
        with locks.lock(path):
            inside.set()
            leave.wait(60)

    with ThreadPoolExecutor(1) as pool:
        with locks.lock(path):
            waiting = pool.submit(wait)
            deadline = time.monotonic() + 60
            while opened(path) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            shutil.rmtree(path.parent)
        assert inside.wait(60)
        with pytest.raises(BlockingIOError), locks.try_lock(path):
            pass
        leave.set()
        waiting.result()


def opened(path: Path) -> int:
    """Return how many of this process's open files are that one."""
    there = os.path.realpath(path)
    return sum(os.path.realpath(f"/proc/self/fd/{name}") == there for name in os.listdir("/proc/self/fd"))
