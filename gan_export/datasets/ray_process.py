"""The process that connects a run to a Ray cluster: its parent sends shards, and actors generate them.

From the parent: the settings; then, for each call of `draw`, {"draw": options and number of shards}, and {"shard": k or
null} for each {"ready": true}; at the end {"end": true}.  To the parent: {"cluster": ...} after joining, {"ready":
true} to request a shard, {"done": record}, {"meter": ...}, {"drawn": true}, or {"error": text}.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gan_export.datasets import formats, generator_files, manifest
from gan_export.datasets.generator_files import Contents
from gan_export.datasets.plan import DatasetPlan
from gan_export.datasets.records import ShardRecord
from gan_export.datasets.storage import open_store
from gan_export.datasets.worker import Asked, Message, Say, error_line, serve
from gan_export.datasets.writer import GeneratorSource, ShardWriter, shared_folder
from gan_export.errors import GanExportError, first_line, printable

_JOINS = 30.0  # seconds for joining a cluster
_STARTS = 120.0  # seconds for starting one here
_ACTOR_START_TIMEOUT = 300.0  # seconds until the first actor is scheduled: longer than most clusters take to add a node
_SHUTDOWN_TIMEOUT = 15.0  # seconds for the actors' last messages
_MAX_RESTARTS = 3  # of actors with the same shard, or in a row before any was ready, until the run fails
_AT_ONCE = 2  # shards of an actor: one is generated while the one before is written
_POLL_INTERVAL = 5.0  # seconds between checks whether any actor is scheduled
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def main() -> None:
    """Run the process."""
    serve(_serve)


@dataclass(frozen=True, slots=True)
class ActorResources:
    """The resources of a node that an actor reserves, and its threads; None for the runtime's default."""

    cpus: float
    gpus: float
    threads: int | None


class ShardActor:
    """An actor that generates a shard while the one before is written; two threads may call `draw`.

    It returns {"error": text} for an error of the user's; any other exception is a bug.
    """

    def __init__(self, setting: Message, contents: Contents, threads: int | None) -> None:
        self._setting, self._contents = setting, contents
        self._job = DatasetPlan.from_data(setting["job"])
        self._source = replace(GeneratorSource.from_data(setting["source"]), threads=threads)
        self._turn = threading.Lock()
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[ShardRecord] | None = None

    def ready(self) -> Message:
        """Load the generator, and check that this node generates and writes as the others do."""
        return _answer(self._open)

    def draw(self, k: int) -> Message:
        """Generate, write and record shard k."""
        return _answer(lambda: {"done": self._draw(k).to_data()})

    def meter(self) -> dict[str, float]:
        """Return the seconds since `ready`, by kind of work."""
        return {**self._writer.meter.seconds, "all": time.perf_counter() - self._begun}

    def _open(self) -> Message:
        job, setting = self._job, self._setting
        with tempfile.TemporaryDirectory(prefix="gan-sample-") as folder:  # every runtime reads a whole file
            generator_files.lay_down(self._contents, Path(folder))
            self._contents = {}
            path = Path(folder) / self._source.path.name
            if generator_files.sha256(path) != job.sha256:
                raise GanExportError(f"{printable(path.name)} arrived damaged, or was changed; run the command again")
            self._stack = contextlib.ExitStack()  # open until the process ends
            generator = self._stack.enter_context(replace(self._source, path=path).open(job.latent_scale))
        for what, here, there in (
            (job.runtime, generator.session.info.version, job.version),
            ("the encoder", formats.find(job.format).encoder(), job.encoder),
        ):
            if here != there:
                raise GanExportError(
                    f"{what} is {here} here and {there} on the machine that started the run; install the same version"
                )
        store = open_store(setting["target"])
        found = manifest.job_under_way(store)
        if found is None or job.difference(found):
            raise GanExportError(
                f"{store.shown} is not the folder that the run began in; "
                "name one with target= that all nodes mount, or a URL"
            )
        ahead = self._source.device != "cpu" or not setting["light"]
        self._writer = ShardWriter(generator, job, store, shared_folder(Path(setting["target"])), ahead=ahead)
        self._begun = time.perf_counter()
        return {"ready": True}

    def _draw(self, k: int) -> ShardRecord:
        with self._turn:
            publish = (self._writer.look if self._setting["look"] else self._writer.lay)(k)
            with self._writer.meter.of("disk"):
                if self._pending is not None:
                    self._pending.exception()
            own = self._pending = self._pool.submit(publish)
        return own.result()


def _answer(work: Callable[[], Message]) -> Message:
    try:
        return work()
    except (GanExportError, MemoryError, OSError) as e:
        import ray

        return {"error": f"node {ray.util.get_node_ip_address()}: {error_line(e)}"}


def _serve(setting: Message, asked: Asked, say: Say) -> None:
    address = setting["ray"]
    os.environ.update(_QUIET)
    patience, late = (_STARTS, "Ray didn't start") if address == "local" else (_JOINS, "no cluster of Ray answered")
    late = f"ray={printable(address)}: {late} in {patience:.0f} seconds"
    with _in_time(patience, lambda: say({"error": late})):
        _join(address, setting["store"])
    import ray

    places = seats(
        [node["Resources"] for node in ray.nodes() if node["Alive"]],
        GeneratorSource.from_data(setting["source"]),
        setting["workers"],
        light=setting["light"],
    )
    say({"cluster": True})
    while "draw" in (message := asked.get()):
        _Stage({**setting, **message["draw"]}, places, asked, say).draw()
        say({"drawn": True})
    with _in_time(_SHUTDOWN_TIMEOUT, lambda: None):
        ray.shutdown()


@contextlib.contextmanager
def _in_time(seconds: float, late: Callable[[], None]) -> Iterator[None]:
    """End the process with an error if the block takes longer, because Ray may wait forever."""

    def end() -> None:
        late()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _join(address: str, store: int) -> None:
    import ray

    own = {"include_dashboard": False, "object_store_memory": store} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as e:  # Ray raises many types here, some with long texts
        if address == "auto" and isinstance(e, ConnectionError):
            reason = "no cluster runs on this machine; start one with ray start --head, or use ray=local"
        else:
            reason = first_line(e, 200)
        raise GanExportError(f"ray={printable(address)}: {reason}") from None


@dataclass(eq=False, slots=True)
class _Actor:
    """An actor's state.

    shards: the unfinished ones that were assigned to it; ready: whether it is scheduled and has loaded the generator
    """

    handle: Any
    seat: ActorResources
    shards: set[int] = field(default_factory=set)
    ready: bool = False


class _Stage:
    """The actors of one `draw`; one that dies is replaced, and any idle actor generates its shards.

    Ray could restart an actor and its calls itself, but the calls would wait for that actor, which may not be scheduled
    while the others are idle.
    """

    def __init__(self, setting: Message, places: Sequence[ActorResources], asked: Asked, say: Say) -> None:
        import ray

        self._ray, self._setting, self._asked, self._say = ray, setting, asked, say
        self._places = places[: setting["shards"]]
        self._contents = ray.put(generator_files.read(Path(setting["source"]["path"])))  # sent once to each node
        self._actors: set[_Actor] = set()
        self._calls: dict[Any, tuple[_Actor, int | None]] = {}  # pending calls: the actor, and its shard
        self._again: deque[int] = deque()
        self._deaths: Counter[int | None] = Counter()  # by the lost shard; None: before any shard
        self._exhausted = False

    def draw(self) -> None:
        """Generate all shards; raise GanExportError for an actor's error, and for actors that die repeatedly."""
        for seat in self._places:
            self._start(seat)
        deadline = time.monotonic() + _ACTOR_START_TIMEOUT
        while True:
            done, _ = self._ray.wait(list(self._calls), timeout=_POLL_INTERVAL)
            for call in done:
                self._take(call)
            self._give()
            if any(actor.ready for actor in self._actors):
                deadline = time.monotonic() + _ACTOR_START_TIMEOUT
                if not any(actor.shards for actor in self._actors):
                    break  # actors that aren't scheduled yet aren't needed
            elif time.monotonic() > deadline:
                raise GanExportError(
                    f"none of the cluster's nodes had a place in {_ACTOR_START_TIMEOUT / 60:.0f} minutes; "
                    "wait for other work on it to end, and run the command again"
                )
        meters = [actor.handle.meter.remote() for actor in self._actors if actor.ready]
        with contextlib.suppress(self._ray.exceptions.RayError):
            for meter in self._ray.get(meters, timeout=_SHUTDOWN_TIMEOUT):
                self._say({"meter": meter})
        for actor in self._actors:
            self._ray.kill(actor.handle)

    def _start(self, seat: ActorResources) -> None:
        drawer = self._ray.remote(ShardActor).options(
            num_cpus=seat.cpus, num_gpus=seat.gpus, max_concurrency=_AT_ONCE, max_restarts=0
        )
        actor = _Actor(drawer.remote(self._setting, self._contents, seat.threads), seat)
        self._actors.add(actor)
        self._calls[actor.handle.ready.remote()] = (actor, None)

    def _give(self) -> None:
        """Keep each actor busy: first one shard for each, then a second one."""
        for level in range(_AT_ONCE):
            for actor in [a for a in self._actors if a.ready and len(a.shards) == level]:
                k = self._next()
                if k is None:
                    return
                actor.shards.add(k)
                self._calls[actor.handle.draw.remote(k)] = (actor, k)

    def _next(self) -> int | None:
        if self._again:
            return self._again.popleft()
        if self._exhausted:
            return None
        self._say({"ready": True})
        k: int | None = self._asked.get()["shard"]
        self._exhausted = k is None
        return k

    def _take(self, call: Any) -> None:
        actor, k = self._calls.pop(call)
        if actor not in self._actors:
            return  # it has died
        try:
            answer = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as e:
            raise GanExportError(f"a worker failed: {printable(str(e.cause))}") from e
        except self._ray.exceptions.RayError as e:
            self._on_actor_death(actor, str(e))
            return
        if "error" in answer:
            raise GanExportError(answer["error"])
        self._deaths[k] = 0
        if k is None:
            actor.ready = True
        else:
            actor.shards.discard(k)
            self._say(answer)

    def _on_actor_death(self, actor: _Actor, why: str) -> None:
        if "ModuleNotFoundError" in why:
            raise GanExportError("a node of the cluster lacks gan-export; install the same version on all of them")
        lost: set[int | None] = {*actor.shards} or {None}
        self._deaths.update(lost)
        if max(self._deaths.values()) > _MAX_RESTARTS:
            raise GanExportError(
                "workers die repeatedly, perhaps because memory is full; "
                "finished shards are kept: run the command again, with fewer workers="
            )
        self._actors.discard(actor)
        self._again.extend(sorted(actor.shards))
        self._start(actor.seat)


def seats(
    nodes: Sequence[Mapping[str, float]], source: GeneratorSource, asked: int | None, *, light: bool
) -> list[ActorResources]:
    """Return the resources of each actor, from those of the nodes.

    asked: the number of actors; None for as many as there are resources for. A small engine gets one actor per core,
    each with one thread, as on one machine: a process encodes on only one core, and a lost shard costs one core's work.
    Each GPU gets an actor; PyTorch gets one per node, with all its threads.
    Raises GanExportError if no node has the resources.
    """
    if source.device == "cuda":
        found = [ActorResources(1, 1, source.threads)] * sum(int(node.get("GPU", 0)) for node in nodes)
        lacks = "no GPU; leave device=cuda out"
    elif light:
        threads = source.threads or 1
        found = [ActorResources(threads, 0, threads)] * sum(int(node.get("CPU", 0)) // threads for node in nodes)
        lacks = f"no node has {threads} free CPUs; use fewer threads=" if threads > 1 else "no node has a free CPU"
    else:
        cores = [int(node.get("CPU", 0)) for node in nodes]
        found = [ActorResources(n, 0, source.threads or n) for n in cores if n]
        lacks = "no node has a free CPU"
    if not found:
        raise GanExportError(f"the cluster's nodes have {lacks}")
    return [found[i % len(found)] for i in range(asked or len(found))]
