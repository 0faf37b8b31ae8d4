"""Pictures over HTTP: GENERATOR=g.gan python service.py.  Anything that gan-sample runs will do.

GET /image?seed=7&index=3[&label=2]           one picture, PNG
GET /grid?seed=7&start=0&count=64[&label=2]   a grid of them, PNG
GET /health                                   what is served

Requests that arrive together are drawn together.  What can't be met is answered 4xx with JSON, at once.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import hashlib
import io
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image
from uvicorn.protocols.http.h11_impl import H11Protocol

from gan_export import images, latents
from gan_export.errors import GanExportError
from gan_export.formats import manifest
from gan_export.sampling.generator import Generator, choose_labels, open_generator

# Each is a number of pictures, or as many as hold so many pixels where those are fewer.
BATCH = 64, 1 << 22  # drawn at once
GRID = 256, 1 << 24
WAITING = 1024, 1 << 26  # beyond it a client is asked to come again
FEW = 1 << 14  # pixels that are encoded sooner than another thread takes them
INDEX = 2**64 - 1
HEADERS = 5.0, 1 << 14  # seconds that a client has for a request's line and headers, and bytes

Whole = Annotated[int, Query(ge=0, le=INDEX)]
Lay = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Wish:
    """Pictures start .. start+count-1 of a seed, no more than a batch; labels (count,) or None; where they go."""

    seed: int
    start: int
    count: int
    labels: np.ndarray | None
    done: asyncio.Future[np.ndarray]


class Painter:
    """Takes wishes, draws as many as fit a batch at once, in a thread, so that the server goes on answering."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        _, height, width = generator.facts.image
        self.batch, self.grid, self.most_waiting = (
            max(1, min(pictures, pixels // (height * width))) for pictures, pixels in (BATCH, GRID, WAITING)
        )
        self._seeded = generator.session.info.inputs == "seed"
        self._wishes: collections.deque[Wish] = collections.deque()
        self._news = asyncio.Event()
        self._ending = False
        self._waiting = 0

    async def png(self, lay: Lay, seed: int, start: int, count: int, label: int | None) -> bytes:
        """The picture that `lay` makes of uint8 (count, H, W, C)."""
        self.check(start, count, label)
        if self._waiting + count > self.most_waiting:
            raise HTTPException(503, "too many pictures are waited for; try again", {"Retry-After": "1"})
        labels = choose_labels(self.generator.facts, "random" if label is None else label, seed, start, count)
        new = asyncio.get_running_loop().create_future
        wishes = []
        for first in range(0, count, self.batch):
            rows = slice(first, min(first + self.batch, count))
            mine = None if labels is None else labels[rows]
            wishes.append(Wish(seed, start + first, rows.stop - first, mine, new()))
        self._waiting += count
        try:
            self._wishes.extend(wishes)
            self._news.set()
            drawn = await asyncio.gather(*(wish.done for wish in wishes))
            few = sum(pictures[..., 0].size for pictures in drawn) <= FEW
            return encode(lay, drawn) if few else await asyncio.to_thread(encode, lay, drawn)
        finally:
            self._waiting -= count
            for wish in wishes:
                wish.done.cancel()  # what isn't drawn yet, where another one failed

    def check(self, start: int, count: int, label: int | None) -> None:
        """Raises HTTPException for pictures that there are none of."""
        facts = self.generator.facts
        if count > self.grid:
            _, height, width = facts.image
            raise HTTPException(422, f"count {count}: 1 to {self.grid} pictures of {height} x {width} are possible")
        if start + count - 1 > INDEX:
            raise HTTPException(422, "indices end at 2^64-1")
        if label is not None and not 0 <= label < facts.classes:
            raise HTTPException(
                422, f"label {label}: " + (f"0 to {facts.classes - 1}" if facts.classes else "none here")
            )

    async def work(self) -> None:
        """Until `stop`; every wish before it is met."""
        while self._wishes or not self._ending:
            if not self._wishes:
                self._news.clear()
                await self._news.wait()
                continue
            batch = [wish for wish in self._next() if not wish.done.done()]
            try:
                pictures = await asyncio.to_thread(self._paint, batch) if batch else []
            except Exception as e:
                for wish in batch:
                    if not wish.done.done():
                        wish.done.set_exception(e)
                continue
            for wish, mine in zip(batch, pictures, strict=True):
                if not wish.done.done():  # its client may have gone
                    wish.done.set_result(mine)

    def _next(self) -> list[Wish]:
        """The first wishes that fit a batch; of a file that draws from a seed, one."""
        batch = [self._wishes.popleft()]
        room = 0 if self._seeded else self.batch - batch[0].count
        while self._wishes and self._wishes[0].count <= room:
            batch.append(self._wishes.popleft())
            room -= batch[-1].count
        return batch

    def _paint(self, batch: list[Wish]) -> list[np.ndarray]:
        if self._seeded:
            return [self.generator.draw_labelled(w.seed, w.start, w.count, w.labels) for w in batch]
        facts = self.generator.facts
        z = np.concatenate([latents.draw(w.seed, w.start, w.count, facts.nz, facts.prior) for w in batch])
        labels = np.concatenate([w.labels for w in batch]) if facts.classes else None
        return np.split(self.generator.bytes(z, labels), np.cumsum([w.count for w in batch])[:-1])

    def stop(self) -> None:
        self._ending = True
        self._news.set()


def encode(lay: Lay, drawn: list[np.ndarray]) -> bytes:
    """What `lay` makes of the pictures, (H, W, C), as PNG."""
    pixels = lay(np.concatenate(drawn))
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def generator_file() -> Path:
    """What GENERATOR names, opened once for a plain message before the server starts."""
    if not os.environ.get("GENERATOR"):
        raise SystemExit("service: name a generator's file: GENERATOR=g.gan python service.py")
    path = Path(os.environ["GENERATOR"])
    try:
        with open_generator(path):
            return path
    except GanExportError as e:
        raise SystemExit(f"service: {e}") from None


FILE = generator_file()


def digest(path: Path) -> str:
    """SHA-256 of the generator's files."""
    found = hashlib.sha256()
    for file in manifest.files(path).values():
        with open(file, "rb") as f:
            found.update(hashlib.file_digest(f, "sha256").digest())
    return found.hexdigest()


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The generator is open while the server runs; wishes that wait at its end are met."""
    with open_generator(FILE) as generator:
        app.state.painter, app.state.digest = Painter(generator), digest(FILE)
        working = asyncio.create_task(app.state.painter.work())
        yield
        app.state.painter.stop()
        await working


app = FastAPI(title="Generated pictures", lifespan=lifespan)


@app.exception_handler(GanExportError)
async def refused(_: Request, error: GanExportError) -> Response:
    """What the generator's file itself doesn't take: a seed that its graph can't hold."""
    return JSONResponse({"detail": str(error)}, 422)


async def answer(request: Request, lay: Lay, which: tuple[int, int, int, int | None]) -> Response:
    """A PNG of seed, start, count and label; a client asks whether its copy is still that of what is served.

    The tag is weak: a byte of an image may differ by one with the images that it is generated among.
    """
    app.state.painter.check(*which[1:])
    wanted = repr((app.state.digest, request.url.path, which))
    tag = f'W/"{hashlib.sha256(wanted.encode()).hexdigest()}"'
    headers = {"Cache-Control": "no-cache", "ETag": tag}
    if held(request.headers.get("If-None-Match", ""), tag):
        return Response(status_code=304, headers=headers)
    png = await app.state.painter.png(lay, *which)
    return Response(png, media_type="image/png", headers=headers)


def held(condition: str, tag: str) -> bool:
    """Whether If-None-Match names the tag, compared weakly, or `*`, which is any.  Source: RFC 9110, 13.1.2."""
    named = {part.strip().removeprefix("W/") for part in condition.split(",")}
    return condition.strip() == "*" or tag.removeprefix("W/") in named


@app.get("/image")
async def image(request: Request, seed: Whole, index: Whole = 0, label: int | None = None) -> Response:
    return await answer(request, lambda pictures: pictures[0], (seed, index, 1, label))


@app.get("/grid")
async def grid(
    request: Request,
    seed: Whole,
    start: Whole = 0,
    count: Annotated[int | None, Query(ge=1)] = None,
    label: int | None = None,
) -> Response:
    """64 pictures where no count is named, or as many as a grid may hold."""
    named = min(64, app.state.painter.grid) if count is None else count
    return await answer(request, images.grid, (seed, start, named, label))


@app.get("/health")
async def health() -> dict[str, object]:
    painter: Painter = app.state.painter
    facts = painter.generator.facts
    return {
        "status": "ok",
        "image": facts.image,
        "classes": facts.classes,
        "runtime": painter.generator.session.info.runtime,
    }


class Prompt(H11Protocol):
    """uvicorn's HTTP/1.1, which closes a connection whose headers don't come: its own timeout is for what follows one.

    A client has HEADERS seconds from its connection, or from a later request's first byte, however many it sends.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._cease()  # the headers are there, and the request is being answered
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cease()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEADERS[0], self.transport.abort)

    def _cease(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--timeout-keep-alive", type=int, default=5, help="seconds between a client's requests")
    given = parser.parse_args()
    uvicorn.run(
        app, host=given.host, port=given.port, log_level=given.log_level, http=Prompt,
        timeout_keep_alive=given.timeout_keep_alive, h11_max_incomplete_event_size=HEADERS[1],
    )  # fmt: skip


if __name__ == "__main__":
    main()
