"""A worker process, which writes the shards that its parent assigns; messages are lines of JSON in a pipe.

From the parent: the settings, then {"shard": k} for each shard.  To the parent: {"ready": true} when the generator is
loaded, {"drawn": n}, {"laid": k} when it can take another shard, {"done": record}, and at the end {"meter": ...}, or
{"error": text}.  When the parent ends, the pipe closes and the worker exits; an unfinished shard is in a scratch
folder.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gan_export.datasets.plan import DatasetPlan
from gan_export.datasets.records import ShardRecord
from gan_export.datasets.storage import open_store
from gan_export.datasets.writer import GeneratorSource, ShardWriter, shared_folder
from gan_export.errors import GanExportError

Message = dict[str, Any]
Asked = queue.Queue[Message]  # the parent's messages
Say = Callable[[Message], None]

_EVERY = 0.2  # seconds between two messages of progress


def main() -> None:
    """Run the worker."""
    serve(_work)


def serve(work: Callable[[Message, Asked, Say], None]) -> None:
    """Call `work` with the parent's first message, a queue of later ones, and a function that replies; then exit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles interrupts
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of a library must not enter the pipe
    requests: Asked = queue.Queue()
    setting = json.loads(sys.stdin.readline())
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()

    def say(message: Message) -> None:
        print(json.dumps(message), file=output)

    try:
        work(setting, requests, say)
    except (GanExportError, MemoryError, OSError) as e:
        say({"error": error_line(e)})
    output.flush()
    os._exit(0)  # the listening thread blocks on standard input


def error_line(error: GanExportError | MemoryError | OSError) -> str:
    """Return the error as one line for the user."""
    match error:
        case GanExportError():
            return str(error)
        case MemoryError():
            return "out of memory; use fewer workers="
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _listen(requests: Asked) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        requests.put(message)
        if "end" in message:
            return
    os._exit(1)  # the parent has ended


def _work(setting: Message, requests: Asked, say: Say) -> None:
    job, source = DatasetPlan.from_data(setting["job"]), GeneratorSource.from_data(setting["source"])
    store = open_store(setting["target"])
    progress = _Progress(say)
    with source.open(job.latent_scale) as generator, ThreadPoolExecutor(1) as pool:
        shared = shared_folder(Path(setting["target"]))
        writer = ShardWriter(
            generator, job, store, shared, classifier=source.classifier, ahead=setting["ahead"], progress=progress
        )
        work = writer.look if setting["look"] else writer.lay
        say({"ready": True})
        begun = time.perf_counter()
        pending: Future[ShardRecord] | None = None
        while "shard" in (message := requests.get()):
            publish = work(message["shard"])
            progress.flush()
            with writer.meter.of("disk"):  # waits for the shard before if it is still being written
                if pending is not None:
                    say({"done": pending.result().to_data()})
            pending = pool.submit(publish)
            say({"laid": message["shard"]})
        with writer.meter.of("disk"):
            if pending is not None:
                say({"done": pending.result().to_data()})
        say({"meter": {**writer.meter.seconds, "all": time.perf_counter() - begun}})


class _Progress:
    """Adds up the progress, and sends it a few times per second."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._count = 0
        self._last = time.monotonic()

    def __call__(self, n: int) -> None:
        self._count += n
        if time.monotonic() - self._last >= _EVERY:
            self.flush()

    def flush(self) -> None:
        self._say({"drawn": self._count})
        self._count = 0
        self._last = time.monotonic()


if __name__ == "__main__":
    main()
