"""A Ray cluster as the crew of a run: the same plan of shards, drawn by actors on its nodes.

The run speaks with Ray through a process of its own (`ray_process`): Ray ends the process that it serves when the
cluster's head is lost, and prints what it likes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gan_export.datasets.plan import DatasetPlan
from gan_export.datasets.records import ShardRecord
from gan_export.datasets.workers import Worker
from gan_export.datasets.writer import GeneratorSource
from gan_export.errors import GanExportError, UnavailableError, printable
from gan_export.formats import manifest

_ANSWERS = 5.0  # seconds in which a cluster's port takes a connection
_STORE = 1 << 27  # bytes of shared memory for a cluster that is started here; the generator's file goes through it


class RayPool:
    """Actors of a cluster for one job: what `WorkerPool` is on one machine."""

    def __init__(self, worker: Worker, address: str) -> None:
        """Raises GanExportError where there is no cluster, or none that can draw this."""
        self._worker, self._address = worker, address
        self._messages = worker.messages()
        self.seconds: dict[str, float] = {}  # of all actors that came to their end, by what they were spent on
        self._hear()

    def draw(
        self, shards: Sequence[int], progress: Callable[[int], None], *, look: bool = False
    ) -> Iterator[ShardRecord]:
        """As `WorkerPool.draw`; the shards of an actor that dies are drawn by another one."""
        waiting = iter(shards)
        self._worker.say({"draw": {"look": look, "shards": len(shards)}})
        while True:
            match self._hear():
                case {"ready": _}:
                    self._worker.say({"shard": next(waiting, None)})
                case {"done": data}:
                    record = ShardRecord.from_data(data)
                    progress(record.count)
                    yield record
                case {"meter": seconds}:
                    for what, s in seconds.items():
                        self.seconds[what] = self.seconds.get(what, 0.0) + s
                case {"drawn": _}:
                    return

    def _hear(self) -> dict[str, Any]:
        message = next(self._messages, None)
        if message is None:
            raise GanExportError(
                f"--ray {printable(self._address)}: the cluster was lost (its head, or this machine's node, ended); "
                "what is finished is kept: run the command again when it is back"
            )
        if "error" in message:
            raise GanExportError(message["error"])
        return message


@contextlib.contextmanager
def join(
    address: str, job: DatasetPlan, source: GeneratorSource, target: str, workers: int | None, *, light: bool
) -> Iterator[RayPool]:
    """The crew for a job in the cluster at HOST:PORT, `auto`: that which runs here, `local`: one for this block.

    workers: actors in all, as many as there is room for without; light: an actor a core, not one a node.
    Raises UnavailableError without Ray, GanExportError where no cluster is.
    """
    _check(address)
    setting = {
        "ray": address,
        "store": max(_STORE, 2 * manifest.size(source.path)),
        "job": job.to_data(),
        "source": source.to_data(),
        "target": target if "://" in target else os.path.abspath(target),
        "workers": workers,
        "light": light,
    }
    quiet = None if os.environ.get("GAN_EXPORT_TRACEBACK") else subprocess.DEVNULL
    # A session of its own: a terminal's interrupt is for the run alone, which ends this by closing its pipe.
    worker = Worker(setting, "ray_process", stderr=quiet, start_new_session=True)
    try:
        yield RayPool(worker, address)
        worker.give(None)
        worker.code()
    finally:
        worker.kill()


def _check(address: str) -> None:
    """What can be said of an address without Ray."""
    if importlib.util.find_spec("ray") is None:
        raise UnavailableError("--ray needs Ray: pip install ray")
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise GanExportError(f"--ray {printable(address)}: HOST:PORT of a cluster's head, auto or local are possible")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS).close()
    except OSError as e:
        raise GanExportError(
            f"--ray {printable(address)}: no cluster answers there ({e.strerror or e}); "
            "start one with ray start --head, or use --ray local"
        ) from None
