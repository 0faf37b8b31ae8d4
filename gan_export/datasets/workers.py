"""Worker processes that take a plan's shards in turn; one that dies is replaced, its shards drawn again."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gan_export.datasets.plan import DatasetPlan
from gan_export.datasets.records import ShardRecord
from gan_export.datasets.writer import GeneratorSource
from gan_export.errors import GanExportError

# The child finds this package where the parent has it.  -P: nothing is imported from the folder it runs in.
_START = "import sys; sys.path += sys.argv[2:]; __import__('importlib').import_module(sys.argv[1]).main()"
_DEATHS = 3  # of workers, until a run gives up


class WorkerPool:
    """Worker processes for one job."""

    def __init__(self, job: DatasetPlan, source: GeneratorSource, target: str, workers: int, *, ahead: bool) -> None:
        """workers: how many at once; ahead: each draws the next batch while it encodes one."""
        self._setting = {
            "job": job.to_data(),
            "source": source.to_data(),
            "target": target,
            "ahead": ahead,
        }
        self._workers = workers
        self._said: queue.Queue[tuple[Worker, dict[str, Any] | None]] = queue.Queue()
        self.seconds: dict[str, float] = {}  # of all workers that came to their end, by what they were spent on

    def draw(
        self, shards: Iterable[int], progress: Callable[[int], None], *, look: bool = False
    ) -> Iterator[ShardRecord]:
        """The records of the shards as they are finished, in any order.

        look: nothing is written but what the filters need to know.

        Raises GanExportError for what stops a worker, and for workers that die again and again.
        """
        setting = {**self._setting, "look": look}
        waiting = iter(shards)
        again: deque[int] = deque()
        deaths = 0
        working: set[Worker] = set()
        try:
            for _ in range(self._workers):
                working.add(self._start(setting))
            while working:
                worker, message = self._said.get()
                match message:
                    case None:
                        working.discard(worker)
                        code = worker.code()
                        if worker.ended and code == 0:
                            continue
                        deaths += 1
                        if deaths > _DEATHS:
                            raise GanExportError(
                                f"workers die again and again (the last one: exit code {code}); "
                                "what is finished is kept: run the command again, with fewer --workers"
                            )
                        again.extend(sorted(worker.shards))
                        working.add(self._start(setting))
                    case {"ready": _} | {"laid": _}:
                        worker.give(again.popleft() if again else next(waiting, None))
                    case {"drawn": n}:
                        progress(n)
                    case {"done": data}:
                        record = ShardRecord.from_data(data)
                        worker.shards.discard(record.index)
                        yield record
                    case {"meter": seconds}:
                        for what, s in seconds.items():
                            self.seconds[what] = self.seconds.get(what, 0.0) + s
                    case {"error": text}:
                        raise GanExportError(text)
        finally:
            for worker in working:
                worker.kill()

    def _start(self, setting: dict[str, Any]) -> Worker:
        worker = Worker(setting)
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        return worker

    def _listen(self, worker: Worker) -> None:
        for message in worker.messages():
            self._said.put((worker, message))
        self._said.put((worker, None))


class Worker:
    """A child process that speaks in lines of JSON, and the shards that it was given.

    shards: those not yet finished; ended: whether it was told to end
    """

    def __init__(self, setting: dict[str, Any], module: str = "worker", **options: Any) -> None:
        """setting: its first message; module: of this package, whose `main` it runs; options: Popen's."""
        self.shards: set[int] = set()
        self.ended = False
        root = str(Path(__file__).resolve().parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, f"gan_export.datasets.{module}", root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **options,
        )
        self.say(setting)

    def messages(self) -> Iterator[dict[str, Any]]:
        """What it says, to its end."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                return  # cut off in the middle of a line
            yield message

    def give(self, shard: int | None) -> None:
        """The next shard, or the word to end."""
        if shard is None:
            self.ended = True
            self.say({"end": True})
        else:
            self.shards.add(shard)
            self.say({"shard": shard})

    def say(self, message: dict[str, Any]) -> None:
        """Nothing where it is dead: the end of its output says so."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def code(self) -> int:
        """Its exit code; waits for its end, which leaves no zombie."""
        return self._process.wait()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
