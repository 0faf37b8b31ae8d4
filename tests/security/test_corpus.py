"""Open each untrusted file by each command, with the interpreter and the file system watched.

The tests require that nothing that a file names is run, imported or written.  Other tests check what is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_export.training import recipe
from tests.conftest import error_lines
from tests.security import corpus
from tests.security.watched import HONEST, Job, Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("watched") / "root"
    root.mkdir()
    made = Place(root)
    corpus.write(made.files)
    return made


def _named(place: Place) -> list[Path]:
    return [place.files / name for name in corpus.checkpoints()]


DOORS: dict[str, Callable[[Place, Path], tuple[str, list[str]]]] = {
    "inspect": lambda p, f: ("export", ["inspect", str(f)]),
    "latents": lambda p, f: ("sample", [str(p.gan), "--latents", str(f), "-o", str(p.out / "l.png")]),
    "export": lambda p, f: ("export", ["safetensors", str(f), "-o", str(p.out / "e.safetensors")]),
    "sample": lambda p, f: ("sample", [str(f), "-n", "1", "-o", str(p.out / "s.png")]),
    "verify": lambda p, f: ("export", ["verify", str(p.gan), str(f)]),
    "verify the file itself": lambda p, f: ("export", ["verify", str(f)]),
    "bench": lambda p, f: ("bench", [str(f), "--runtimes", "eager", "--rounds", "2", "--batch", "1"]),
    "dataset": lambda p, f: ("sample", ["dataset", str(f), "-n", "2", "--format", "npy", "-o", str(p.out / "d")]),
}
SHORT = ("inspect", "latents")
TURNS = 5  # each file is opened by a fifth of all commands in rotation, because they share one reader


@pytest.mark.long
def test_nothing_runs_through_the_first_doors(place: Place) -> None:
    """All in one process, because half of a command's time would be its start."""
    jobs = [_honest(place, door) for door in SHORT]
    jobs += [(f"{f.name} to {door}", *DOORS[door](place, f)) for door in SHORT for f in _named(place)]
    _hold(place, jobs)


@pytest.mark.long
def test_nothing_is_called_through_any_door(place: Place) -> None:
    doors = list(DOORS)
    jobs = [_honest(place, door) for door in doors]
    for i, door in enumerate(doors):
        files = [f for k, f in enumerate(_named(place)) if (k + i) % TURNS == 0 or f.name.startswith("zip_")]
        jobs += [(f"{f.name} to {door}", *DOORS[door](place, f)) for f in files]
    _hold(place, jobs, calls=True)


def _honest(place: Place, door: str) -> Job:
    return (f"{HONEST} {door}", *DOORS[door](place, place.checkpoint))


def _hold(place: Place, jobs: list[Job], *, calls: bool = False) -> None:
    results = place.run(jobs, calls=calls)
    assert len(results) == len(jobs)
    for name, (code, output) in results.items():
        assert "Traceback" not in output, name
        assert code != -1, (name, output)


@pytest.mark.long
def test_a_strangers_run_that_is_resumed(place: Place) -> None:
    """Its snapshot is any file of the corpus."""
    runs = place.root / "runs"
    settings = json.dumps(recipe.load("mnist32-demo").to_json())

    def resume(name: str, file: Path) -> Job:
        run = runs / file.name
        (run / "snapshots").mkdir(parents=True)
        (run / "recipe.json").write_text(settings)
        (run / "snapshots" / "00000001.pt").write_bytes(file.read_bytes())
        return (name, "train", ["resume", str(run)])

    # an honest checkpoint is no snapshot either, but shows what torch itself looks up
    honest = [(f"{HONEST} list", "train", ["list"]), resume(f"{HONEST} checkpoint", place.checkpoint)]
    jobs = [resume(file.name, file) for file in _named(place)]
    for name, (code, output) in place.run([*honest, *jobs]).items():
        assert code == (0 if name == f"{HONEST} list" else 2), (name, output)


@pytest.mark.long
def test_texts_are_refused_in_a_line(place: Place) -> None:
    jobs: list[Job] = [(f"{HONEST} list", "train", ["list"]), (f"{HONEST} check", "sample", ["check", str(place.out)])]
    for name, text in corpus.texts().items():
        path = place.files / name
        path.write_text(text, encoding="latin-1" if name.startswith("latin") else "utf-8")
        run, dataset, unfinished, folder = (place.files / f"{kind}-{name}" for kind in ("run", "data", "part", "model"))
        for made in (run, dataset, unfinished / ".gan-sample", folder):
            made.mkdir(parents=True, exist_ok=True)
        (run / "recipe.json").write_bytes(path.read_bytes())
        (dataset / "MANIFEST.json").write_bytes(path.read_bytes())
        (unfinished / ".gan-sample" / "job.json").write_bytes(path.read_bytes())
        (folder / "model.safetensors.index.json").write_bytes(path.read_bytes())
        own = [
            ("recipe", "train", [str(path), "-o", str(place.out / "run")]),
            ("suite", "bench", ["--suite", str(path)]),
            ("record", "bench", ["compare", str(path), str(path)]),
            ("run", "train", ["resume", str(run)]), ("page", "train", ["report", str(run)]),
            ("dataset", "sample", ["check", str(dataset)]), ("unfinished", "sample", ["check", str(unfinished)]),
            ("index", "export", ["inspect", str(folder)]),
        ]  # fmt: skip
        # An empty text is a valid recipe and a valid suite, which would be run.
        jobs += [
            (f"{door} of {name}", *to) for door, *to in own if (door in ("recipe", "suite")) == (path.suffix == ".toml")
        ]
    for name, (code, output) in place.run(jobs).items():
        if not name.startswith(HONEST):
            assert code == 2, (name, output)
            assert len(error_lines(output)) == 1, (name, output)
