"""The child process of a remote session: one runtime, controlled through its standard streams.

The parent's side is `subprocess_session.py`.  A message is an 8-byte little-endian length and a pickle.  A request is
(operation, keyword arguments); an answer is ("ok", value) or ("error", exit code, line).  Both ends are this package in
one version; nothing else is ever unpickled.  Descriptors 0 and 1 are duplicated and then replaced before anything else
is imported, so that output of a library goes to stderr and can't break a message.
"""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from gan_export.graph.signature import Feeds, Signature
    from gan_export.runtimes.base import Clock, Outputs, PreparedInputs, Session, SessionInfo

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of memory.

    peak: the maximum resident memory of this process; device_peak: None if unknown
    """

    peak: int | None
    device_peak: int | None


def send(stream: BinaryIO, message: object) -> None:
    """Send one message and flush."""
    data = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Receive one message; raise EOFError if the other end is closed."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return pickle.loads(_exactly(stream, length))


class Worker:
    """The parent's operations, one method each.  It has one session and one bound input."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._bound: PreparedInputs | None = None

    def load(
        self,
        *,
        registry: str,
        runtime: str,
        path: str,
        device: str,
        threads: int | None,
        pin: bool,
        signature: Signature | None = None,
    ) -> tuple[SessionInfo, float]:
        """Load the artifact; return the session's properties, and the seconds of loading including imports."""
        start = time.perf_counter()
        if pin and threads is not None:
            _pin(threads)
        found = importlib.import_module(registry).find(runtime)
        self._session = found.load(Path(path), device=device, threads=threads)
        seconds = time.perf_counter() - start
        if signature is not None:
            from gan_export.runtimes.base import hold_to

            hold_to(self._session, signature)
        return self._session.info, seconds

    def run(self, feeds: Feeds) -> Outputs:
        return self._loaded().run(feeds)

    def bind(self, feeds: Feeds) -> float:
        """Bind the inputs and run once; return the seconds, including compilation."""
        self._bound = None
        start = time.perf_counter()
        self._bound = self._loaded().bind(feeds)
        self._bound()
        return time.perf_counter() - start

    def bind_draw(self, seed: int, start: int, count: int) -> float:
        """Bind as `bind` does, for a session that takes no latents."""
        from gan_export.runtimes.base import BindsDraws

        session = self._loaded()
        if not isinstance(session, BindsDraws):
            raise ValueError("this session takes latents, not a seed")
        self._bound = None
        begin = time.perf_counter()
        self._bound = session.bind_draw(seed, start, count)
        self._bound()
        return time.perf_counter() - begin

    def unbind(self) -> None:
        """Free the inputs and the last outputs."""
        self._bound = None

    def outputs(self) -> Outputs:
        """Return the outputs of the last timed call."""
        return self._running().outputs()

    def time_model(self, min_seconds: float, min_calls: int, settle: int, clock: Clock) -> list[int]:
        """Return nanoseconds per call with the bound inputs, after `settle` uncounted calls."""
        return _time(self._running(), min_seconds, min_calls, settle, clock)

    def draw(self, *, seed: int, start: int, count: int, signature: Signature) -> Outputs:
        """Return the outputs of a seed's images: images as uint8, channels last; image i has label i mod classes."""
        from gan_export.runtimes.base import SamplesFromSeed

        session = self._loaded()
        if isinstance(session, SamplesFromSeed):
            return {signature.outputs[0].name: session.draw_bytes(seed, start, count)}
        return signature.to_bytes(session.run(signature.feeds(seed, range(start, start + count))))

    def time_end_to_end(
        self, *, count: int, min_seconds: float, min_calls: int, settle: int, clock: Clock, **drawn: Any
    ) -> list[int]:
        """Return nanoseconds per `draw`; each generates the images after the previous ones."""
        start = 0

        def once() -> None:
            nonlocal start
            self.draw(start=start, count=count, **drawn)
            start += count

        return _time(once, min_seconds, min_calls, settle, clock)

    def memory(self) -> Memory:
        return Memory(_peak_resident(), _peak_on_device())

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = self._bound = None

    def _loaded(self) -> Session:
        if self._session is None:
            raise ValueError("no session is loaded")
        return self._session

    def _running(self) -> PreparedInputs:
        if self._bound is None:
            raise ValueError("no input is bound")
        return self._bound


OPERATIONS = (
    "load", "run", "bind", "bind_draw", "unbind", "outputs", "draw", "time_model", "time_end_to_end", "memory",
    "close",
)  # fmt: skip


def main() -> None:
    """Serve the parent until it closes its end."""
    worker = Worker()
    _serve(worker)
    worker.close()
    atexit._run_exitfuncs()  # which remove temporary folders
    sys.stderr.flush()
    os._exit(0)  # Python would tear down every module first: half a second of processor time if torch is one of them


def _serve(worker: Worker) -> None:
    requests, answers = _private_streams()
    from gan_export.errors import GanExportError, printable

    while True:
        try:
            operation, arguments = receive(requests)
        except (EOFError, KeyboardInterrupt):
            return
        try:
            if operation not in OPERATIONS:
                raise ValueError(f"no operation {operation}")
            answer: tuple[object, ...] = ("ok", getattr(worker, operation)(**arguments))
        except GanExportError as e:
            answer = ("error", e.exit_code, str(e))
        except MemoryError:
            answer = ("error", 2, "out of memory; generate fewer or smaller images at once")
        except KeyboardInterrupt:
            return
        except Exception as e:
            text = " ".join(str(e).split())
            answer = ("error", 2, printable(f"{type(e).__name__}: {text}" if text else type(e).__name__, limit=500))
        try:
            send(answers, answer)
        except (BrokenPipeError, OSError):
            return


def _time(call: Callable[[], None], min_seconds: float, min_calls: int, settle: int, clock: Clock) -> list[int]:
    """Return nanoseconds of each call, by the wall's clock or as processor time of all threads of this process."""
    for _ in range(settle):
        call()
    now = time.process_time_ns if clock == "processor" else time.perf_counter_ns
    samples: list[int] = []
    end = time.perf_counter() + min_seconds
    before = now()
    while time.perf_counter() < end or len(samples) < min_calls:
        call()
        after = now()
        samples.append(after - before)
        before = after
    return samples


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdin, sys.stdout = open(os.devnull), sys.stderr  # noqa: SIM115  for the rest of the process
    return requests, answers


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise EOFError
    return data


def _pin(threads: int) -> None:
    """Pin to the first `threads` usable processors, if the system supports it."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:threads])


def _peak_resident() -> int | None:
    """Return Linux's VmHWM, which unlike ru_maxrss starts from zero at exec, so excludes the parent's memory."""
    try:
        with open("/proc/self/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_on_device() -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())


if __name__ == "__main__":
    main()
