"""Serve generated images over HTTP: GENERATOR=g.gan python service.py.  It takes any file that gan-sample takes.

GET /image?seed=7&index=3[&label=2]           one image, PNG
GET /grid?seed=7&start=0&count=64[&label=2]   a grid of images, PNG
GET /health                                   the generator that is served

Requests that arrive together share a batch.  Invalid requests are answered at once with a 4xx status and JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import hashlib
import io
import math
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

import gan_export
from gan_export import GanExportError, Generator

# Each limit is (images, pixels); the one that is reached first holds.
BATCH = 64, 1 << 22  # generated at once
GRID = 256, 1 << 24
WAITING = 1024, 1 << 26  # beyond it the answer is 503 with Retry-After
FEW = 1 << 14  # pixels that are encoded in less time than a change of threads takes
INDEX = 2**64 - 1
HEADERS = 5.0, 1 << 14  # seconds and bytes for a request's line and headers

Whole = Annotated[int, Query(ge=0, le=INDEX)]
Lay = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Wish:
    """A request for the images start to start+count-1 of a seed, at most a batch; `done` receives them as uint8.

    label: a class, or "random", which a generator without labels ignores
    """

    seed: int
    start: int
    count: int
    label: int | str
    done: asyncio.Future[np.ndarray]


class Painter:
    """A queue of requests, whose images are generated in batches by a thread, so that the server stays responsive."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        _, height, width = generator.image
        self.batch, self.grid, self.most_waiting = (
            max(1, min(images, pixels // (height * width))) for images, pixels in (BATCH, GRID, WAITING)
        )
        self._seeded = generator.info.inputs == "seed"
        self._label = next((port.name for port in generator.signature.inputs if port.kind == "label"), None)
        self._wishes: collections.deque[Wish] = collections.deque()
        self._news = asyncio.Event()
        self._ending = False
        self._waiting = 0

    async def png(self, lay: Lay, seed: int, start: int, count: int, label: int | None) -> bytes:
        """Return the PNG of `lay(images)`, images uint8 (count, H, W, C)."""
        self.check(start, count, label)
        if self._waiting + count > self.most_waiting:
            raise HTTPException(503, "too many images are waiting; try again", {"Retry-After": "1"})
        new = asyncio.get_running_loop().create_future
        wishes = []
        for first in range(0, count, self.batch):
            rows = slice(first, min(first + self.batch, count))
            wishes.append(Wish(seed, start + first, rows.stop - first, "random" if label is None else label, new()))
        self._waiting += count
        try:
            self._wishes.extend(wishes)
            self._news.set()
            drawn = await asyncio.gather(*(wish.done for wish in wishes))
            few = sum(images[..., 0].size for images in drawn) <= FEW
            return encode(lay, drawn) if few else await asyncio.to_thread(encode, lay, drawn)
        finally:
            self._waiting -= count
            for wish in wishes:
                wish.done.cancel()  # not generated yet, because another one failed

    def check(self, start: int, count: int, label: int | None) -> None:
        """Raise HTTPException for images that don't exist."""
        classes = self.generator.classes
        if count > self.grid:
            _, height, width = self.generator.image
            raise HTTPException(422, f"count {count}: must be 1 to {self.grid} for images of {height} x {width}")
        if start + count - 1 > INDEX:
            raise HTTPException(422, "start + count: must be at most 2^64")
        if label is not None and not 0 <= label < classes:
            raise HTTPException(
                422,
                f"label {label}: "
                + (f"must be 0 to {classes - 1}" if classes else "the generator has none; leave it out"),
            )

    async def work(self) -> None:
        """Answer requests until `stop`, and all that came before it."""
        while self._wishes or not self._ending:
            if not self._wishes:
                self._news.clear()
                await self._news.wait()
                continue
            batch = [wish for wish in self._next() if not wish.done.done()]
            try:
                images = await asyncio.to_thread(self._paint, batch) if batch else []
            except Exception as e:
                for wish in batch:
                    if not wish.done.done():
                        wish.done.set_exception(e)
                continue
            for wish, mine in zip(batch, images, strict=True):
                if not wish.done.done():  # the client may have disconnected
                    wish.done.set_result(mine)

    def _next(self) -> list[Wish]:
        """Return the first requests that fit a batch; only one for a file that computes its latents from a seed."""
        batch = [self._wishes.popleft()]
        room = 0 if self._seeded else self.batch - batch[0].count
        while self._wishes and self._wishes[0].count <= room:
            batch.append(self._wishes.popleft())
            room -= batch[-1].count
        return batch

    def _paint(self, batch: list[Wish]) -> list[np.ndarray]:
        if self._seeded:
            return [self.generator.sample(w.count, seed=w.seed, start=w.start, labels=w.label) for w in batch]
        each = [self._feeds(w) for w in batch]
        outputs = self.generator.run({name: np.concatenate([feeds[name] for feeds in each]) for name in each[0]})
        made = self.generator.signature.to_bytes(outputs)[self.generator.signature.outputs[0].name]
        return np.split(made, np.cumsum([w.count for w in batch])[:-1])

    def _feeds(self, wish: Wish) -> dict[str, np.ndarray]:
        """Return the inputs of the generator for a request."""
        label = {} if self._label is None else {self._label: wish.label}
        return self.generator.signature.feeds(wish.seed, range(wish.start, wish.start + wish.count), **label)

    def stop(self) -> None:
        self._ending = True
        self._news.set()


def encode(lay: Lay, drawn: list[np.ndarray]) -> bytes:
    """Return `lay(images)`, (H, W, C), as PNG."""
    pixels = lay(np.concatenate(drawn))
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def generator_file() -> Path:
    """Return the path in GENERATOR; open it once, so that an error is one line before the server starts."""
    if not os.environ.get("GENERATOR"):
        raise SystemExit("service: GENERATOR is not set; name a generator's file: GENERATOR=g.gan python service.py")
    path = Path(os.environ["GENERATOR"])
    try:
        with gan_export.open(path):
            return path
    except GanExportError as e:
        raise SystemExit(f"service: {e}") from None


FILE = generator_file()


def grid(images: np.ndarray) -> np.ndarray:
    """Return images (N, H, W, C) as a nearly square grid, with 2 black pixels around each, as gan-sample does."""
    n, h, w, channels = images.shape
    columns = math.ceil(math.sqrt(n))
    sheet = np.zeros((-(-n // columns) * (h + 2) + 2, columns * (w + 2) + 2, channels), np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (h + 2) + 2, i % columns * (w + 2) + 2
        sheet[top : top + h, left : left + w] = image
    return sheet


def digest(generator: Generator) -> str:
    """Return the SHA-256 of the generator's files."""
    found = hashlib.sha256()
    for file in generator.files:
        with open(file, "rb") as f:
            found.update(hashlib.file_digest(f, "sha256").digest())
    return found.hexdigest()


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the generator open while the server runs; answer waiting requests before closing it."""
    with gan_export.open(FILE) as generator:
        app.state.painter, app.state.digest = Painter(generator), digest(generator)
        working = asyncio.create_task(app.state.painter.work())
        yield
        app.state.painter.stop()
        await working


app = FastAPI(title="Generated images", lifespan=lifespan)


@app.exception_handler(GanExportError)
async def refused(_: Request, error: GanExportError) -> Response:
    """Answer 422 to an error of the generator, such as a seed that its graph can't hold."""
    return JSONResponse({"detail": str(error)}, 422)


async def answer(request: Request, lay: Lay, which: tuple[int, int, int, int | None]) -> Response:
    """Return a PNG for seed, start, count and label, or 304 if the client has it.

    The tag is weak: a byte of an image may differ by one, depending on the other images of the batch.
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
    """Return whether If-None-Match has the tag, compared weakly, or `*` for any.  Source: RFC 9110, 13.1.2."""
    named = {part.strip().removeprefix("W/") for part in condition.split(",")}
    return condition.strip() == "*" or tag.removeprefix("W/") in named


@app.get("/image")
async def image(request: Request, seed: Whole, index: Whole = 0, label: int | None = None) -> Response:
    return await answer(request, lambda images: images[0], (seed, index, 1, label))


@app.get("/grid")
async def grid_of(
    request: Request,
    seed: Whole,
    start: Whole = 0,
    count: Annotated[int | None, Query(ge=1)] = None,
    label: int | None = None,
) -> Response:
    """Return a grid; without a count, of 64 images or the most that a grid may have."""
    named = min(64, app.state.painter.grid) if count is None else count
    return await answer(request, grid, (seed, start, named, label))


@app.get("/health")
async def health() -> dict[str, object]:
    painter: Painter = app.state.painter
    return {
        "status": "ok",
        "image": painter.generator.image,
        "classes": painter.generator.classes,
        "runtime": painter.generator.info.runtime,
    }


class Prompt(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with a timeout for headers; uvicorn has one only between two requests.

    A client has HEADERS seconds from its connection, or from the first byte of a later request.
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
            self._cease()  # the headers are complete, and the request is being answered
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
