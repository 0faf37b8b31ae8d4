"""The doors' process: run in folders of its own, with what it does written down and held to what is promised."""

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
# Never, whatever a file holds.
_NEVER = (
    "os.system", "os.exec", "os.spawn", "pty.spawn", "os.forkpty", "os.startfile", "pickle.find_class",
    "urllib.Request", "webbrowser.open", "ftplib.connect", "smtplib.connect", "sqlite3.connect", "socket.connect",
)  # fmt: skip


_BY_LIBRARIES = ("tmp/cache", "out/", "tmp/.ses")  # the last: ONNX Runtime's number of a session, when imported


class Place:
    """A folder with honest files, a home and a temporary folder of its own, and the doors' process in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files, self.home, self.temporary, self.out = (root / n for n in ("files", "home", "tmp", "out"))
        for folder in (self.files, self.home, self.temporary, self.out):
            folder.mkdir()
        (self.files / f"{CANARY}.py").write_text(f"open({str(root / 'imported')!r}, 'w')\nclass Config: pass\n")
        self.checkpoint = saved(self.files / "honest.pth", prefixed(generator().state_dict()))
        self.gan = self.files / "honest.gan"
        write(find("native"), checkpoint.read(self.checkpoint), self.gan, Options())

    def run(self, jobs: Sequence[Job], limit: int = 900) -> dict[str, tuple[int, str]]:
        """Exit code and last words of each job, held to what is promised."""
        (self.root / "jobs.json").write_text(json.dumps(jobs))
        log, results = self.root / "log", self.root / "results.json"
        log.unlink(missing_ok=True)
        before = self._listing()
        paths = os.pathsep.join((str(WATCH), str(ROOT), str(self.files)))
        environment = {
            **os.environ, "PYTHONPATH": paths, "HOME": str(self.home), "TMPDIR": str(self.temporary),
            "GAN_WATCH": str(log), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(self.temporary / "cache"),
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.security.doors", str(self.root / "jobs.json"), str(results)]
        done = subprocess.run(
            command, cwd=self.files, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
        assert done.returncode == 0, (done.returncode, done.stderr[-2000:], log.read_text()[-500:])
        self._hold(log)
        changed = {name for name in self._listing() ^ before if not name.startswith(_BY_LIBRARIES)}
        assert not changed, changed
        assert not [name for name in self._listing() if CANARY in name and not name.startswith("files/")]
        assert not (self.root / "imported").exists()
        return {name: (code, words) for name, code, words in json.loads(results.read_text())}

    def _listing(self) -> set[str]:
        folders = (self.files, self.home, self.temporary, self.out)
        found = {p.relative_to(self.root).as_posix() for folder in folders for p in folder.rglob("*")}
        return found | {p.name for p in self.root.parent.iterdir()}

    def _hold(self, log: Path) -> None:
        job, honest, wrong = HONEST, set[str](), []
        named = {module.split(".")[0] for module, _, _ in CALLS} | {module for module, _, _ in CALLS}
        programs, unpickled = set[str](), list[Any]()
        for line in log.read_text().splitlines():
            event, what = json.loads(line)
            if event == "job":
                job = what
            elif job.startswith(HONEST):
                if event == "import":
                    honest.add(what)
                elif event == "subprocess.Popen":
                    programs.add(what[0])
                elif event == "pickle.find_class":  # what our own processes tell each other
                    unpickled.append(what)
            elif event == "pickle.find_class" and what in unpickled:
                continue
            elif self._is_wrong(event, what, named - honest, programs):
                wrong.append((job, event, what))
        assert not wrong, wrong[:5]

    def _is_wrong(self, event: str, what: Any, modules: set[str], programs: set[str]) -> bool:
        """modules: what the corpus names and no honest file had imported; programs: what honest files had started."""
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
