"""Generate a plan's shards by actors on the nodes of a Ray cluster.

The run talks to Ray through a process of its own (`ray_process`), because Ray ends its client process when the head of
the cluster is lost, and prints messages of its own.
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
from gan_export.errors import GanExportError, Topic, UnavailableError, linked, printable
from gan_export.formats import manifest

_ANSWERS = 5.0  # seconds in which the cluster's port must accept a connection
_STORE = 1 << 27  # bytes of shared memory for a cluster that is started here; it transfers the generator's file


class RayPool:
    """Actors of a cluster for one job, as `WorkerPool` has processes of one machine."""

    def __init__(self, worker: Worker, address: str) -> None:
        """Raises GanExportError without a cluster, or if the cluster can't run the job."""
        self._worker, self._address = worker, address
        self._messages = worker.messages()
        self.seconds: dict[str, float] = {}  # of all actors that have ended, by kind of work
        self._hear()

    def draw(
        self, shards: Sequence[int], progress: Callable[[int], None], *, look: bool = False
    ) -> Iterator[ShardRecord]:
        """Yield records as `WorkerPool.draw` does; another actor generates the shards of one that dies."""
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
                f"ray={printable(self._address)}: the cluster was lost (its head, or this machine's node, ended); "
                "finished shards are kept: run the command again when it is back"
            )
        if "error" in message:
            raise GanExportError(message["error"])
        return message


@contextlib.contextmanager
def join(
    address: str, job: DatasetPlan, source: GeneratorSource, target: str, workers: int | None, *, light: bool
) -> Iterator[RayPool]:
    """Join the cluster at HOST:PORT, `auto` (the one that runs here) or `local` (a new one for this block).

    workers: number of actors, or None for as many as there are resources for; light: one actor per core, not per node.
    Raises UnavailableError without Ray, GanExportError without a cluster.
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
    # A session of its own: a terminal's interrupt goes only to the run, which ends this process by closing its pipe.
    worker = Worker(setting, "ray_process", stderr=quiet, start_new_session=True)
    try:
        yield RayPool(worker, address)
        worker.give(None)
        worker.code()
    finally:
        worker.kill()


@linked(Topic.DATASET_RAY)
def _check(address: str) -> None:
    """Check what can be checked of an address without importing Ray."""
    if importlib.util.find_spec("ray") is None:
        raise UnavailableError("ray= needs Ray: pip install ray")
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise GanExportError(f"ray={printable(address)}: must be HOST:PORT of a cluster's head, auto or local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS).close()
    except OSError as e:
        raise GanExportError(
            f"ray={printable(address)}: no cluster answers there ({e.strerror or e}); "
            "start one with ray start --head, or use ray=local"
        ) from None
