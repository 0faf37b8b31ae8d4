"""Several processes for one run: started here or by torchrun, as ranks of a group that may span several machines.

The process of the command is the first of its machine and shows the progress; the others print nothing.  Processes of
one machine meet through a file; several machines meet at MASTER_ADDR:MASTER_PORT with their NODE_RANK, as with
torchrun.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist

from gan_export.errors import GanExportError, first_line, printable
from gan_export.training import events, run_dir, torchrun, trainer
from gan_export.training.distributed import process_group
from gan_export.training.recipe import Recipe, resumed


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The number of processes: `devices` on each of `nodes` machines."""

    devices: int = 1
    nodes: int = 1


def run(plan: Plan, recipe: Recipe | None, run: Path, settings: list[str], options: trainer.Options) -> events.Ended:
    """Call `trainer.train` with `recipe`, or `trainer.resume` without one, in plan.devices x plan.nodes processes.

    A process that torchrun has started becomes one of the run's processes.
    Raises GanExportError for an invalid plan, and if another process of the run has failed.
    """
    if place := torchrun.place():
        return _run_in_place(place, plan, _Work(recipe, run, settings, options.data_root), options)
    if plan.devices < 1 or plan.nodes < 1:
        raise GanExportError(f"devices={plan.devices} nodes={plan.nodes}: both must be at least 1")
    if plan == Plan():
        return _go(recipe, run, settings, options)
    with ExitStack() as stack:
        meeting, node = stack.enter_context(_meeting(plan))
        size, first = plan.devices * plan.nodes, node * plan.devices
        spawn = multiprocessing.get_context("spawn")
        whole = torch.get_num_threads()
        threads = max(1, whole // plan.devices)
        failures = spawn.SimpleQueue()  # what ends a process that isn't the first
        work = _Work(recipe, run, settings, options.data_root)
        nccl = _uses_nccl(work, plan.devices)
        places = [_Place(first + i, size, meeting, i, threads, nccl) for i in range(1, plan.devices)]
        others = [spawn.Process(target=_follow, args=(place, work, failures)) for place in places]
        for process in others:
            process.start()
        stack.callback(_end, others)
        stack.callback(torch.set_num_threads, whole)
        torch.set_num_threads(threads)
        if first:  # the first process of the first machine shows the progress
            options = dataclasses.replace(options, observe=lambda event: None)
        try:
            group = stack.enter_context(process_group(first, size, meeting, nccl=nccl))
        except (RuntimeError, ValueError) as e:
            raise GanExportError(f"the processes can't meet at {meeting}: {first_line(e, 200)}") from None
        try:
            ended = _go(recipe, run, settings, dataclasses.replace(options, group=group))
        except RuntimeError as e:
            if not _is_lost_peer(e):
                raise
            why = _word(failures, others) or "another process of the run has ended"
            raise GanExportError(f"{why}; `gan-train resume` goes on") from e
        for process in others:
            process.join(60)
        return ended


def _run_in_place(place: torchrun.Place, plan: Plan, work: _Work, options: trainer.Options) -> events.Ended:
    if plan != Plan():
        raise GanExportError("torchrun sets the number of processes; leave out devices= and nodes=")
    if place.size == 1:
        return _go(work.recipe, work.folder, work.settings, options)
    if place.rank:
        options = dataclasses.replace(options, observe=lambda event: None)
    if place.local_size == place.size:
        _stay_on_this_machine()
    with ExitStack() as stack:
        nccl = _uses_nccl(work, place.local_size)
        try:
            group = stack.enter_context(process_group(place.rank, place.size, "env://", place.local, nccl=nccl))
        except (RuntimeError, ValueError) as e:
            where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            raise GanExportError(f"the processes can't meet at {printable(where)}: {first_line(e, 200)}") from None
        try:
            return _go(work.recipe, work.folder, work.settings, dataclasses.replace(options, group=group))
        except RuntimeError as e:
            if not _is_lost_peer(e):
                raise
            raise GanExportError("another process of the run has ended; `gan-train resume` goes on") from e


def _is_lost_peer(error: RuntimeError) -> bool:
    return any(word in str(error).lower() for word in ("gloo", "nccl", "connection"))


def _uses_nccl(work: _Work, local_size: int) -> bool:
    """Return whether each process of the machine has its own GPU: NCCL refuses two processes on one."""
    recipe = work.recipe or resumed(run_dir.recipe(work.folder), work.settings)
    if recipe.compute.device not in ("auto", "cuda") or not dist.is_nccl_available():
        return False
    return torch.cuda.device_count() >= local_size


def _go(recipe: Recipe | None, run: Path, settings: list[str], options: trainer.Options) -> events.Ended:
    return trainer.resume(run, settings, options) if recipe is None else trainer.train(recipe, run, options)


class _Place(NamedTuple):
    """A process's rank of `size`, the meeting point, its number on its machine, its threads, and its backend."""

    rank: int
    size: int
    meeting: str
    local: int
    threads: int
    nccl: bool


class _Work(NamedTuple):
    """The arguments of all processes of a run."""

    recipe: Recipe | None
    folder: Path
    settings: list[str]
    root: Path | None


def _follow(place: _Place, work: _Work, failures: SimpleQueue[str]) -> None:
    """Run a process that isn't the first of its machine; it stops when the first one stops."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(place.threads)
    try:
        with process_group(place.rank, place.size, place.meeting, place.local, nccl=place.nccl) as group:
            _go(work.recipe, work.folder, work.settings, trainer.Options(work.root, group=group))
    except (GanExportError, RuntimeError, OSError) as e:  # the first process reports errors that all have
        failures.put(f"process {place.rank}: {first_line(e)}")
        sys.exit(2)


def _word(failures: SimpleQueue[str], others: list[multiprocessing.context.SpawnProcess]) -> str:
    """Return the message of the first process that failed; "" if there is none within five seconds."""
    for process in others:
        process.join(5 / len(others))
    return "" if failures.empty() else failures.get()


@contextmanager
def _meeting(plan: Plan) -> Iterator[tuple[str, int]]:
    """Yield the meeting point, and the rank of this machine."""
    if plan.nodes == 1:
        _stay_on_this_machine()
        with tempfile.TemporaryDirectory() as place:
            yield f"file://{place}/meeting", 0
        return
    missing = [n for n in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if not os.environ.get(n)]
    if missing:
        raise GanExportError(f"nodes={plan.nodes}: set {', '.join(missing)} in the environment, as for torchrun")
    rank = os.environ["NODE_RANK"]
    if not rank.isdecimal() or int(rank) >= plan.nodes:
        raise GanExportError(f"NODE_RANK is {rank}; it must be 0 to {plan.nodes - 1} with nodes={plan.nodes}")
    yield f"tcp://{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}", int(rank)


def _stay_on_this_machine() -> None:
    """Let gloo use the loopback interface, because the machine's own name may not resolve."""
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def _end(processes: list[multiprocessing.context.SpawnProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.kill()  # it ignores gentler signals, and has nothing to write
