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
from pathlib import Path

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
        others = [
            spawn.Process(target=_follow, args=((rank, size, meeting), recipe, folder, settings, options.data_root))
            for rank in range(first + 1, first + plan.devices)
        ]
        for process in others:
            process.start()
        stack.callback(_end, others)
        threads = torch.get_num_threads()
        stack.callback(torch.set_num_threads, threads)
        torch.set_num_threads(max(1, threads // plan.devices))
        try:
            group = stack.enter_context(joined(first, size, meeting))
        except (RuntimeError, ValueError) as e:
            raise GanExportError(f"the processes can't meet at {meeting}: {first_line(e, 200)}") from None
        try:
            ended = _go(recipe, folder, settings, dataclasses.replace(options, group=group))
        except RuntimeError as e:
            if "gloo" not in str(e).lower() and "connection" not in str(e).lower():
                raise
            raise GanExportError(
                "another process of the run has ended; its message is above, and `gan-train resume` goes on"
            ) from e
        for process in others:
            process.join(60)
        return ended


def _go(recipe: Recipe | None, folder: Path, settings: list[str], options: loop.Options) -> events.Ended:
    return loop.resume(folder, settings, options) if recipe is None else loop.train(recipe, folder, options)


def _follow(
    place: tuple[int, int, str], recipe: Recipe | None, folder: Path, settings: list[str], root: Path | None
) -> None:
    """A process that isn't the first of its machine: stops when the first says so."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        with joined(*place) as group:
            _go(recipe, folder, settings, loop.Options(root, group=group))
    except GanExportError:
        sys.exit(2)  # the first process has the same to say
    except RuntimeError as e:
        print(f"process {place[0]}: {str(e).splitlines()[0]}", file=sys.stderr)
        sys.exit(1)


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
