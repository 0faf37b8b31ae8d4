"""Several processes for one run: started here or by torchrun, as ranks of a group that may span several machines.

The process that was asked is the first of its machine and shows what goes on; the others follow it silently.  One
machine meets in a file; several meet at MASTER_ADDR:MASTER_PORT, each told its place by NODE_RANK, the names that
torchrun uses.
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
    """How many processes: `devices` on each of `nodes` machines."""

    devices: int = 1
    nodes: int = 1


def run(plan: Plan, recipe: Recipe | None, run: Path, settings: list[str], options: trainer.Options) -> events.Ended:
    """`trainer.train` of `recipe`, or without one `trainer.resume`, by plan.devices x plan.nodes processes.

    In a process that torchrun has started: as one of its processes.
    Raises GanExportError for a plan that can't be, and when another process of the run has failed.
    """
    if place := torchrun.place():
        return _run_in_place(place, plan, _Work(recipe, run, settings, options.data_root), options)
    if plan.devices < 1 or plan.nodes < 1:
        raise GanExportError(f"--devices {plan.devices} --nodes {plan.nodes}: at least 1 of each is needed")
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
        if first:  # the first machine's first process shows what goes on
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
        raise GanExportError("torchrun decides how many processes there are; leave out --devices and --nodes")
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
    """Whether each of the machine's processes has a GPU of its own: NCCL refuses two processes on one."""
    recipe = work.recipe or resumed(run_dir.recipe(work.folder), work.settings)
    if recipe.compute.device not in ("auto", "cuda") or not dist.is_nccl_available():
        return False
    return torch.cuda.device_count() >= local_size


def _go(recipe: Recipe | None, run: Path, settings: list[str], options: trainer.Options) -> events.Ended:
    return trainer.resume(run, settings, options) if recipe is None else trainer.train(recipe, run, options)


class _Place(NamedTuple):
    """A process's rank of `size`, where they meet, its number on its machine, its threads, and how they speak."""

    rank: int
    size: int
    meeting: str
    local: int
    threads: int
    nccl: bool


class _Work(NamedTuple):
    """What all processes of a run are given alike."""

    recipe: Recipe | None
    folder: Path
    settings: list[str]
    root: Path | None


def _follow(place: _Place, work: _Work, failures: SimpleQueue[str]) -> None:
    """A process that isn't the first of its machine: stops when the first says so."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(place.threads)
    try:
        with process_group(place.rank, place.size, place.meeting, place.local, nccl=place.nccl) as group:
            _go(work.recipe, work.folder, work.settings, trainer.Options(work.root, group=group))
    except (GanExportError, RuntimeError, OSError) as e:  # of what all meet with, the first process tells itself
        failures.put(f"process {place.rank}: {first_line(e)}")
        sys.exit(2)


def _word(failures: SimpleQueue[str], others: list[multiprocessing.context.SpawnProcess]) -> str:
    """What the first process that gave up has said; "" where none did within five seconds."""
    for process in others:
        process.join(5 / len(others))
    return "" if failures.empty() else failures.get()


@contextmanager
def _meeting(plan: Plan) -> Iterator[tuple[str, int]]:
    """Where the processes meet, and this machine's place among the machines."""
    if plan.nodes == 1:
        _stay_on_this_machine()
        with tempfile.TemporaryDirectory() as place:
            yield f"file://{place}/meeting", 0
        return
    missing = [n for n in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if not os.environ.get(n)]
    if missing:
        raise GanExportError(f"--nodes {plan.nodes}: set {', '.join(missing)} in the environment, as for torchrun")
    rank = os.environ["NODE_RANK"]
    if not rank.isdecimal() or int(rank) >= plan.nodes:
        raise GanExportError(f"NODE_RANK is {rank}; 0 to {plan.nodes - 1} are possible with --nodes {plan.nodes}")
    yield f"tcp://{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}", int(rank)


def _stay_on_this_machine() -> None:
    """Have gloo speak through the loopback interface: the machine's own name may not resolve."""
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def _end(processes: list[multiprocessing.context.SpawnProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.kill()  # it ignores the gentler signals, and has nothing to write
