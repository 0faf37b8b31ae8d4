"""Test that the watch detects each way to run code, also by modules that an honest file's job has loaded before."""

from __future__ import annotations

import json

import pytest

from tests.security.calls import CALLS
from tests.security.watched import HONEST, Job, Place

LEAKS = "tests.security.leaks"
CALLED = (
    "os.system", "numpy.load", "zipfile.ZipFile", "torch.load", "torch.utils.collect_env.run", "builtins.eval",
    "shutil.rmtree", "pickle.loads", "pkgutil.resolve_name",
)  # fmt: skip
LOOKED_UP = ("os.system", "shutil.rmtree", "torch.load")
PAIRS = (
    *(("call", name) for name in CALLED),
    *((way, name) for way in ("import_module", "__import__", "pickle") for name in LOOKED_UP),
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the jobs in which something was detected; an honest one has loaded every module before."""
    root = tmp_path_factory.mktemp("leaks") / "root"
    root.mkdir()
    place = Place(root)
    entries = {f"{entry[0]}.{entry[1]}": entry for entry in CALLS}
    modules = [entries[name][0] for name in CALLED]
    jobs: list[Job] = [(f"{HONEST} leaks", LEAKS, ["honest", *modules])]
    for way, name in PAIRS:
        file = place.files / f"{name}.json"
        file.write_text(json.dumps(entries[name]))
        jobs.append((f"{way} {name}", LEAKS, [way, str(file)]))
    inspect = ["inspect", str(place.checkpoint)]
    results = place.watch(
        [*jobs, (f"{HONEST} inspect", "export", inspect), ("inspect again", "export", inspect)], calls=True
    )
    assert results["inspect again"][0] == 0
    return {job for job, _, _ in place.wrong()}


@pytest.mark.parametrize(("way", "name"), PAIRS, ids=str)
def test_the_watch_sees(seen: set[str], way: str, name: str) -> None:
    assert f"{way} {name}" in seen


def test_the_watch_lets_an_honest_file_be(seen: set[str]) -> None:
    assert "inspect again" not in seen
