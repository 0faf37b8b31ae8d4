"""A watch on the interpreter: while it is on, nothing may be run, written, connected or imported."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from gan_export.errors import printable

_FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn",
    "os.startfile", "socket.", "ctypes.", "shutil.", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link",
    "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.putenv", "os.kill", "import", "exec", "compile",
    "code.__new__", "marshal.", "pickle.find_class", "webbrowser.open", "urllib.Request", "tempfile.", "sqlite3.",
    "function.__new__",
)  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ForbiddenError(BaseException):
    """Not an Exception, so that nothing handles it on the way."""


class _Watch:
    on = False
    installed = False
    seen: list[str] = []  # noqa: RUF012  # one watch for the process

    @classmethod
    def hook(cls, event: str, args: tuple[object, ...]) -> None:
        if not cls.on:
            return
        bad = any(event == f or (f.endswith(".") and event.startswith(f)) for f in _FORBIDDEN)
        if event == "open":
            _, mode, flags = args
            bad = (isinstance(mode, str) and bool(set(mode) & set("wax+"))) or (
                isinstance(flags, int) and bool(flags & _WRITES)
            )
        if bad:
            cls.seen.append(f"{event} {str(args)[:200]}")
            raise ForbiddenError(cls.seen[-1])


@contextlib.contextmanager
def nothing_runs() -> Iterator[None]:
    """Within it, starting a process, opening for writing, a socket, or an import raises ForbiddenError."""
    if not _Watch.installed:
        printable("\x1b")  # loads Python's codec for escapes, once
        sys.addaudithook(_Watch.hook)
        _Watch.installed = True
    _Watch.seen.clear()
    _Watch.on = True
    try:
        yield
    finally:
        _Watch.on = False
    if _Watch.seen:
        raise ForbiddenError(_Watch.seen[0])
