"""What `explain` prints of a plan, and that the cost model's choices are the fast ones here."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from .conftest import Write, random_weights, transposed
from .test_suites import built, need, run

pytestmark = pytest.mark.long


@dataclass(frozen=True, slots=True)
class Way:
    """One line of the table: a way to compute a step, in millions of cycles."""

    step: int
    chosen: bool
    method: str
    model: float
    measured: float


@pytest.fixture(scope="module")
def explain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("cmake", "cc")
    return built(tmp_path_factory.mktemp("built"), "-DCMAKE_BUILD_TYPE=Release", targets=("explain",)) / "explain"


def ways(program: Path, file: Path, batch: int) -> list[Way]:
    memory, first, head, *lines = run(program, file, str(batch), "1").splitlines()
    assert first.startswith(f"{file}: {batch} images by 1 threads, in chunks of {batch} images by 1 of them")
    assert "of transformed weights" in memory
    assert head.split() == ["step", "operation", "method", "KiB", "model", "measured", "layer"]
    table = [line.split() for line in lines]
    assert {w[7] for w in table} == {"up0", "up1", "up2", "last"}  # the layers' names in the file
    return [Way(int(w[0]), w[2] == "*", w[3], float(w[5]), float(w[6])) for w in table]


@pytest.mark.long
@pytest.mark.alone
def test_the_choices_are_fast_ones(explain: Path, write: Write) -> None:
    """A whole batch by the chosen methods takes at most 1.3 times what the fastest of each layer would.

    1.0 to 1.1 on quiet machines; the rest is for others' work beside the test.
    """
    spec = transposed((256, 128, 64), 3, 100)
    file = write(spec, random_weights(spec))
    for batch in (1, 16):
        found = ways(explain, file, batch)
        assert len({way.step for way in found}) == 4
        chosen = sum(way.measured for way in found if way.chosen)
        fastest = sum(min(way.measured for way in of) for _, of in groupby(found, lambda way: way.step))
        assert sum(way.chosen for way in found) == 4
        assert chosen <= 1.3 * fastest, found


def test_what_it_can_not_explain(explain: Path, tmp_path: Path) -> None:
    for words in ([], [tmp_path / "none.gan"], [Path(__file__)], [Path(__file__), "0"]):
        done = subprocess.run([explain, *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
