"""Run jobs in a process with folders of its own; record what it does and check it against what is guaranteed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan_export import checkpoint
from gan_export.exporters import find
from gan_export.exporters.base import Options, write
from tests.checkpoint.makers import generator, prefixed, saved
from tests.conftest import ROOT
from tests.security.calls import CALLS, CANARY

WATCH = ROOT / "tests" / "security" / "watch"
Job = tuple[str, str, list[str]]
HONEST = "honest"
# Never allowed, whatever a file contains.
_NEVER = (
    "os.system", "os.exec", "os.spawn", "pty.spawn", "os.forkpty", "os.startfile", "pickle.find_class",
    "urllib.Request", "webbrowser.open", "ftplib.connect", "smtplib.connect", "sqlite3.connect", "socket.connect",
)  # fmt: skip


# Wrong unless an honest file's job has the same: pickles between our own processes, modules by name from the same
# place, and functions in C.
_COMPARED = ("pickle.find_class", "lookup", "called")
_BY_LIBRARIES = ("tmp/cache", "out/", "tmp/.ses")  # the last: ONNX Runtime's session number, when it is imported


class Place:
    """A folder with honest files, with home and temporary folders of its own, and the process that runs jobs in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files, self.home, self.temporary, self.out = (root / n for n in ("files", "home", "tmp", "out"))
        for folder in (self.files, self.home, self.temporary, self.out):
            folder.mkdir()
        (self.files / f"{CANARY}.py").write_text(f"open({str(root / 'imported')!r}, 'w')\nclass Config: pass\n")
        self.checkpoint = saved(self.files / "honest.pth", prefixed(generator().state_dict()))
        self.gan = self.files / "honest.gan"
        write(find("native"), checkpoint.read(self.checkpoint), self.gan, Options())

    def run(self, jobs: Sequence[Job], limit: int = 900, *, calls: bool = False) -> dict[str, tuple[int, str]]:
        """Run jobs and check the guarantees; return the exit code and the end of the output of each job.

        calls: also watch calls whose module an honest job may have loaded before
        """
        before = self._listing()
        results = self.watch(jobs, limit, calls=calls)
        wrong = self.wrong()
        assert not wrong, wrong[:5]
        changed = {name for name in self._listing() ^ before if not name.startswith(_BY_LIBRARIES)}
        assert not changed, changed
        assert not [name for name in self._listing() if CANARY in name and not name.startswith("files/")]
        assert not (self.root / "imported").exists()
        return results

    def watch(self, jobs: Sequence[Job], limit: int = 900, *, calls: bool = False) -> dict[str, tuple[int, str]]:
        """Run jobs without checks; return the exit code and the end of the output of each job."""
        (self.root / "jobs.json").write_text(json.dumps(jobs))
        log, results = self.root / "log", self.root / "results.json"
        log.unlink(missing_ok=True)
        paths = os.pathsep.join((str(WATCH), str(ROOT), str(self.files)))
        environment = {
            **os.environ, "PYTHONPATH": paths, "HOME": str(self.home), "TMPDIR": str(self.temporary),
            "GAN_WATCH": str(log), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(self.temporary / "cache"), **({"GAN_WATCH_CALLS": "1"} if calls else {}),
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.security.doors", str(self.root / "jobs.json"), str(results)]
        done = subprocess.run(
            command, cwd=self.files, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
        assert done.returncode == 0, (done.returncode, done.stderr[-2000:], log.read_text()[-500:])
        return {name: (code, words) for name, code, words in json.loads(results.read_text())}

    def _listing(self) -> set[str]:
        folders = (self.files, self.home, self.temporary, self.out)
        found = {p.relative_to(self.root).as_posix() for folder in folders for p in folder.rglob("*")}
        return found | {p.name for p in self.root.parent.iterdir()}

    def wrong(self) -> list[tuple[str, str, Any]]:
        """Return what the jobs of the last watch did that no file may do: (job, event, what)."""
        job, honest, wrong = HONEST, set[str](), []
        named = {module.split(".")[0] for module, _, _ in CALLS} | {module for module, _, _ in CALLS}
        programs, usual = set[str](), list[Any]()
        for line in (self.root / "log").read_text().splitlines():
            event, what = json.loads(line)
            if event == "job":
                job = what
            elif job.startswith(HONEST):
                if event == "import":
                    honest.add(what)
                elif event == "subprocess.Popen":
                    programs.add(what[0])
                elif event in _COMPARED:
                    usual.append([event, what])
            elif event in _COMPARED:
                if [event, what] not in usual:
                    wrong.append((job, event, what))
            elif self._is_wrong(event, what, named - honest, programs):
                wrong.append((job, event, what))
        return wrong

    def _is_wrong(self, event: str, what: Any, modules: set[str], programs: set[str]) -> bool:
        """Return whether an event is not allowed.

        modules: named by the corpus and not imported by honest files; programs: started by honest files
        """
        if event == "import":
            return what in modules
        if event == "open":
            return not self._may_write(what[0])
        started = event == "subprocess.Popen" and what[0] not in programs | {sys.executable}
        return started or event in _NEVER or CANARY in str(what)

    def _may_write(self, path: str) -> bool:
        own = (str(self.out), str(self.temporary), "/dev/", "/proc/", str(self.root / "log"))
        return (
            path.startswith(own)
            or path.isdecimal()
            or path.endswith(".lock")
            or path == str(self.root / "results.json")
        )
