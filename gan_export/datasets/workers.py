"""Worker processes that take a plan's shards in turn; one that dies is replaced, its shards generated again."""

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

# The child finds this package in the parent's folders. -P: nothing is imported from the working directory.
_START = "import sys; sys.path += sys.argv[2:]; __import__('importlib').import_module(sys.argv[1]).main()"
_DEATHS = 3  # of workers, until the run fails


class WorkerPool:
    """Worker processes for one job."""

    def __init__(self, job: DatasetPlan, source: GeneratorSource, target: str, workers: int, *, ahead: bool) -> None:
        """Create the pool; processes start in `draw`.

        workers: the maximum number at once; ahead: whether each generates the next batch while it encodes one
        """
        self._setting = {
            "job": job.to_data(),
            "source": source.to_data(),
            "target": target,
            "ahead": ahead,
        }
        self._workers = workers
        self._said: queue.Queue[tuple[Worker, dict[str, Any] | None]] = queue.Queue()
        self.seconds: dict[str, float] = {}  # of all workers that have ended, by kind of work

    def draw(
        self, shards: Iterable[int], progress: Callable[[int], None], *, look: bool = False
    ) -> Iterator[ShardRecord]:
        """Yield the records of the shards as they are finished, in any order.

        look: write only the confidences for the filters
        Raises GanExportError for a worker's error, and for workers that die repeatedly.
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
                                f"workers die repeatedly (the last one with exit code {code}); "
                                "finished shards are kept: run the command again, with fewer workers="
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
    """A child process with which lines of JSON are exchanged, and its shards.

    shards: the unfinished ones that were assigned to it; ended: whether its end was requested
    """

    def __init__(self, setting: dict[str, Any], module: str = "worker", **options: Any) -> None:
        """Start the process.

        setting: its first message; module: the module of this package whose `main` it runs; options: Popen's
        """
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
        """Yield its messages until it ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                return  # cut off in the middle of a line
            yield message

    def give(self, shard: int | None) -> None:
        """Assign a shard; None requests the end."""
        if shard is None:
            self.ended = True
            self.say({"end": True})
        else:
            self.shards.add(shard)
            self.say({"shard": shard})

    def say(self, message: dict[str, Any]) -> None:
        """Send a message; do nothing if the process is dead, which the end of its output shows."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def code(self) -> int:
        """Wait for its end, which leaves no zombie, and return its exit code."""
        return self._process.wait()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
