"""Several processes for one run: started here, on this machine, as ranks of a group that may span several machines.

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

from gan_export.errors import GanExportError, first_line
from gan_export.training import events, loop
from gan_export.training.group import joined
from gan_export.training.recipe import Recipe


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """How many processes: `devices` on each of `nodes` machines."""

    devices: int = 1
    nodes: int = 1


def run(plan: Plan, recipe: Recipe | None, folder: Path, settings: list[str], options: loop.Options) -> events.Ended:
    """`loop.train` of `recipe`, or without one `loop.resume`, by plan.devices x plan.nodes processes.

    Raises GanExportError for a plan that can't be, and when another process of the run has failed.
    """
    if plan.devices < 1 or plan.nodes < 1:
        raise GanExportError(f"--devices {plan.devices} --nodes {plan.nodes}: at least 1 of each is needed")
    if plan == Plan():
        return _go(recipe, folder, settings, options)
    with ExitStack() as stack:
        meeting, node = stack.enter_context(_meeting(plan))
        size, first = plan.devices * plan.nodes, node * plan.devices
        spawn = multiprocessing.get_context("spawn")
        whole = torch.get_num_threads()
        threads = max(1, whole // plan.devices)
        said = spawn.SimpleQueue()  # what ends a process that isn't the first
        work = _Work(recipe, folder, settings, options.data_root)
        places = [_Place(first + i, size, meeting, i, threads) for i in range(1, plan.devices)]
        others = [spawn.Process(target=_follow, args=(place, work, said)) for place in places]
        for process in others:
            process.start()
        stack.callback(_end, others)
        stack.callback(torch.set_num_threads, whole)
        torch.set_num_threads(threads)
        if first:  # the first machine's first process shows what goes on
            options = dataclasses.replace(options, observe=lambda event: None)
        try:
            group = stack.enter_context(joined(first, size, meeting))
        except (RuntimeError, ValueError) as e:
            raise GanExportError(f"the processes can't meet at {meeting}: {first_line(e, 200)}") from None
        try:
            ended = _go(recipe, folder, settings, dataclasses.replace(options, group=group))
        except RuntimeError as e:
            if "gloo" not in str(e).lower() and "connection" not in str(e).lower():
                raise
            why = _word(said, others) or "another process of the run has ended"
            raise GanExportError(f"{why}; `gan-train resume` goes on") from e
        for process in others:
            process.join(60)
        return ended


def _go(recipe: Recipe | None, folder: Path, settings: list[str], options: loop.Options) -> events.Ended:
    return loop.resume(folder, settings, options) if recipe is None else loop.train(recipe, folder, options)


class _Place(NamedTuple):
    """A process's rank of `size`, where they meet, its number on its machine, and its threads."""

    rank: int
    size: int
    meeting: str
    local: int
    threads: int


class _Work(NamedTuple):
    """What all processes of a run are given alike."""

    recipe: Recipe | None
    folder: Path
    settings: list[str]
    root: Path | None


def _follow(place: _Place, work: _Work, said: SimpleQueue[str]) -> None:
    """A process that isn't the first of its machine: stops when the first says so."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(place.threads)
    try:
        with joined(place.rank, place.size, place.meeting, place.local) as group:
            _go(work.recipe, work.folder, work.settings, loop.Options(work.root, group=group))
    except (GanExportError, RuntimeError, OSError) as e:  # of what all meet with, the first process tells itself
        said.put(f"process {place.rank}: {first_line(e)}")
        sys.exit(2)


def _word(said: SimpleQueue[str], others: list[multiprocessing.context.SpawnProcess]) -> str:
    """What the first process that gave up has said; "" where none did within five seconds."""
    for process in others:
        process.join(5 / len(others))
    return "" if said.empty() else said.get()


@contextmanager
def _meeting(plan: Plan) -> Iterator[tuple[str, int]]:
    """Where the processes meet, and this machine's place among the machines."""
    if plan.nodes == 1:
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
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


def _end(processes: list[multiprocessing.context.SpawnProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.kill()  # it ignores the gentler signals, and has nothing to write
