"""A session in a fresh process, for verification and the benchmark: it shares nothing with the parent.

`open_remote` starts `worker.py` and loads the artifact there.  While no request runs, the child sleeps on a pipe.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from gan_export.errors import CheckFailedError, GanExportError, printable
from gan_export.runtimes.base import Clock, Outputs, SessionInfo
from gan_export.runtimes.worker import Memory, receive, send

if TYPE_CHECKING:
    from gan_export.graph.signature import Feeds, Signature

REGISTRY = "gan_export.runtimes"
# The child finds this package in the parent's folders. -P: nothing is imported from the working directory.
_START = "import sys; sys.path += sys.argv[1:]; from gan_export.runtimes.worker import main; main()"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_STDERR_TAIL_BYTES = 2000  # bytes of a dead child's stderr that are read


class RemoteSession:
    """A `Session` in a process of its own, with timing inside that process.

    seconds_to_load: from the start of the process to the loaded session, including imports
    """

    def __init__(self, process: subprocess.Popen[bytes], stderr: IO[bytes], what: str) -> None:
        self._process = process
        self._stderr = stderr
        self._what = what
        self._info: SessionInfo | None = None
        self.seconds_to_load = 0.0
        _children.add(self)

    @property
    def info(self) -> SessionInfo:
        if self._info is None:
            raise GanExportError(f"{self._what}: nothing is loaded")
        return self._info

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(
        self,
        runtime: str,
        path: Path,
        device: str,
        threads: int | None,
        *,
        pin: bool = False,
        registry: str = REGISTRY,
        signature: Signature | None = None,
    ) -> float:
        """Load an artifact, and return the seconds that loading took inside the process.

        signature: the signature that the file states, if the loaded model must match it
        """
        where = {"registry": registry, "runtime": runtime, "path": str(path), "device": device}
        self._info, seconds = self._ask("load", **where, threads=threads, pin=pin, signature=signature)
        return float(seconds)

    def run(self, feeds: Feeds) -> Outputs:
        return cast(Outputs, self._ask("run", feeds=feeds))

    def bind(self, feeds: Feeds) -> RemoteBound:
        """Bind inputs on the child's device and run once; a call costs a round trip, so use `time_model` for timing."""
        return RemoteBound(self, float(self._ask("bind", feeds=feeds)))

    def bind_draw(self, seed: int, start: int, count: int) -> RemoteBound:
        """Bind as `bind` does if `info.inputs` is "seed": a call generates these images.

        Image i has label i mod classes.
        """
        return RemoteBound(self, float(self._ask("bind_draw", seed=seed, start=start, count=count)))

    def unbind(self) -> None:
        """Let the child free the bound inputs and outputs."""
        self._ask("unbind")

    def outputs(self) -> Outputs:
        """Return the outputs of the last timed call with the bound inputs."""
        return cast(Outputs, self._ask("outputs"))

    def time_model(self, min_seconds: float, min_calls: int = 1, settle: int = 0, clock: Clock = "wall") -> list[int]:
        """Nanoseconds of each call on the bound inputs, device memory to device memory; `settle` calls uncounted."""
        timing = {"min_seconds": min_seconds, "min_calls": min_calls, "settle": settle, "clock": clock}
        return cast(list[int], self._ask("time_model", **timing))

    def draw(self, *, seed: int, start: int, count: int, signature: Signature) -> Outputs:
        """Return the outputs of a seed's images in host memory, as uint8, channels last.

        Image i has label i mod classes.
        """
        drawn = {"seed": seed, "start": start, "count": count, "signature": signature}
        return cast(Outputs, self._ask("draw", **drawn))

    def time_end_to_end(
        self,
        *,
        seed: int,
        count: int,
        signature: Signature,
        min_seconds: float,
        min_calls: int = 1,
        settle: int = 0,
        clock: Clock = "wall",
    ) -> list[int]:
        """Return nanoseconds per `draw` of `count` images; each call generates other images."""
        drawn = {"seed": seed, "count": count, "signature": signature}
        timing = {"min_seconds": min_seconds, "min_calls": min_calls, "settle": settle, "clock": clock}
        return cast(list[int], self._ask("time_end_to_end", **drawn, **timing))

    def memory(self) -> Memory:
        return cast(Memory, self._ask("memory"))

    def close(self) -> None:
        """End the process; may be called twice."""
        _children.discard(self)
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                cast(BinaryIO, self._process.stdin).close()  # the child then ends by itself
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self.kill()
        self._release()

    def kill(self) -> None:
        """End the process now."""
        _children.discard(self)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._release()

    def __enter__(self) -> RemoteSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, operation: str, **arguments: Any) -> Any:
        try:
            send(cast(BinaryIO, self._process.stdin), (operation, arguments))
            answer = receive(cast(BinaryIO, self._process.stdout))
        except (EOFError, OSError, ValueError):
            raise GanExportError(self._crash_message(operation)) from None
        except BaseException:  # after an interruption inside a message, the stream is unusable
            self.kill()
            raise
        if answer[0] == "ok":
            return answer[1]
        _, code, message = answer
        raise (CheckFailedError if code == 1 else GanExportError)(str(message))

    def _crash_message(self, operation: str) -> str:
        """Return in one line why the child has ended."""
        if self._process.stdin is None or self._stderr.closed:
            return f"{self._what}: its process is closed"
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        cause = _cause(code)
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - _STDERR_TAIL_BYTES))
        words = [w for w in self._stderr.read().decode("utf-8", "replace").splitlines() if w.strip()]
        self.kill()
        last_line = f": {printable(words[-1].strip(), limit=300)}" if words else ""
        return f"{self._what}: its process {cause} during {operation}{last_line}"

    def _release(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class RemoteBound:
    """Inputs bound in the child.  `seconds`: duration of binding and the first run, including compilation."""

    def __init__(self, session: RemoteSession, seconds: float) -> None:
        self._session = session
        self.seconds = seconds

    def __call__(self) -> None:
        self._session.time_model(0.0, min_calls=1)

    def outputs(self) -> Outputs:
        return self._session.outputs()


def open_remote(
    runtime: str,
    path: Path | str,
    device: str = "cpu",
    threads: int | None = None,
    *,
    pin: bool = False,
    registry: str = REGISTRY,
    search: tuple[str, ...] = (),
    signature: Signature | None = None,
) -> RemoteSession:
    """Load `path` by `runtime` in a fresh process.

    threads: None for the library's default; pin: whether to bind the process to that number of processors
    registry: the module whose `find` returns the runtime, importable from this package's folder or from those in
    `search`
    signature: the signature that the file states, if the loaded model must match it
    Raises GanExportError with the child's own message, or with how the child died.
    """
    started = time.perf_counter()
    session = start_worker(f"{runtime} ({device})", threads, search)
    try:
        session.load(runtime, Path(path), device, threads, pin=pin, registry=registry, signature=signature)
    except BaseException:
        session.kill()
        raise
    session.seconds_to_load = time.perf_counter() - started
    return session


def start_worker(what: str, threads: int | None = None, search: tuple[str, ...] = ()) -> RemoteSession:
    """Start a process with nothing loaded.  `what` is its name in messages."""
    environment = dict(os.environ)
    if threads is not None:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    package_home = str(Path(__file__).resolve().parents[2])
    stderr = tempfile.TemporaryFile()  # noqa: SIM115  kept until the child ends, for its last lines
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, package_home, *search],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            start_new_session=os.name == "posix",  # Ctrl-C reaches only the parent, which ends its children
        )
    except OSError as e:
        stderr.close()
        raise GanExportError(f"{what}: no process could be started: {e.strerror or e}") from e
    return RemoteSession(process, stderr, what)


def _cause(code: int | None) -> str:
    if code is None:
        return "closed its pipe"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (out of memory, most likely)" if name == "SIGKILL" else "")


_children: weakref.WeakSet[RemoteSession] = weakref.WeakSet()


@atexit.register
def _end_children() -> None:
    for child in list(_children):
        child.kill()
