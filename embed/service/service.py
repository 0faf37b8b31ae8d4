"""Pictures over HTTP: GENERATOR=g.gan uvicorn service:app.  Anything that gan-sample runs will do.

GET /image?seed=7&index=3[&label=2]           one picture, PNG
GET /grid?seed=7&start=0&count=64[&label=2]   a grid of them, PNG
GET /health                                   what is served

Requests that arrive together are drawn together.  What can't be met is answered 4xx with JSON, at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Response
from PIL import Image

from gan_export import images, latents
from gan_export.errors import GanExportError
from gan_export.sampling import Generator, choose_labels, open_generator

BATCH = 64  # pictures drawn at once
MOST_PICTURES = 256  # of one grid
MOST_WAITING = 1024  # pictures; beyond it a client is asked to come again
INDEX = 2**64 - 1

Whole = Annotated[int, Query(ge=0, le=INDEX)]


@dataclass(frozen=True, slots=True)
class Wish:
    """Latents (n, nz), labels (n,) or None, and where the pictures go."""

    z: np.ndarray
    labels: np.ndarray | None
    done: asyncio.Future[np.ndarray]


class Painter:
    """Takes wishes, draws as many as fit a batch at once, in a thread, so that the server goes on answering."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._wishes: asyncio.Queue[Wish | None] = asyncio.Queue()
        self._waiting = 0

    async def draw(self, seed: int, start: int, count: int, label: int | None) -> np.ndarray:
        """uint8 (count, H, W, C)."""
        facts = self.generator.facts
        if start + count - 1 > INDEX:
            raise HTTPException(422, "indices end at 2^64-1")
        if label is not None and not 0 <= label < facts.classes:
            raise HTTPException(
                422, f"label {label}: " + (f"0 to {facts.classes - 1}" if facts.classes else "none here")
            )
        if self._waiting + count > MOST_WAITING:
            raise HTTPException(503, "too many pictures are waited for; try again", {"Retry-After": "1"})
        z = latents.draw(seed, start, count, facts.nz, facts.prior)
        labels = choose_labels(facts, "random" if label is None else label, seed, start, count)
        wish = Wish(z, labels, asyncio.get_running_loop().create_future())
        self._waiting += count
        try:
            self._wishes.put_nowait(wish)
            return await wish.done
        finally:
            self._waiting -= count

    async def work(self) -> None:
        """Until None comes; every wish before it is met."""
        while (wish := await self._wishes.get()) is not None:
            batch = [wish]
            while sum(len(w.z) for w in batch) < BATCH and not self._wishes.empty():
                following = self._wishes.get_nowait()
                if following is None:
                    self._wishes.put_nowait(None)
                    break
                batch.append(following)
            z = np.concatenate([w.z for w in batch])
            labels = np.concatenate([w.labels for w in batch]) if batch[0].labels is not None else None
            try:
                pictures = await asyncio.to_thread(self.generator.bytes, z, labels)
            except Exception as e:
                for w in batch:
                    if not w.done.done():
                        w.done.set_exception(e)
                continue
            for w in batch:
                mine, pictures = pictures[: len(w.z)], pictures[len(w.z) :]
                if not w.done.done():  # its client may have gone
                    w.done.set_result(mine)

    def stop(self) -> None:
        self._wishes.put_nowait(None)


def generator_file() -> Path:
    """What GENERATOR names, opened once for a plain message before the server starts."""
    if not os.environ.get("GENERATOR"):
        raise SystemExit("service: name a generator's file: GENERATOR=g.gan uvicorn service:app")
    path = Path(os.environ["GENERATOR"])
    try:
        with open_generator(path):
            return path
    except GanExportError as e:
        raise SystemExit(f"service: {e}") from None


FILE = generator_file()


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The generator is open while the server runs; wishes that wait at its end are met."""
    with open_generator(FILE) as generator:
        app.state.painter = Painter(generator)
        working = asyncio.create_task(app.state.painter.work())
        yield
        app.state.painter.stop()
        await working


app = FastAPI(title="Generated pictures", lifespan=lifespan)


def png(pixels: np.ndarray) -> Response:
    """(H, W, C) as an answer; a picture of a seed never changes, so that it may be kept."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return Response(buffer.getvalue(), media_type="image/png", headers={"Cache-Control": "public, max-age=31536000"})


@app.get("/image")
async def image(seed: Whole, index: Whole = 0, label: int | None = None) -> Response:
    pictures = await app.state.painter.draw(seed, index, 1, label)
    return png(pictures[0])


@app.get("/grid")
async def grid(
    seed: Whole,
    start: Whole = 0,
    count: Annotated[int, Query(ge=1, le=MOST_PICTURES)] = 64,
    label: int | None = None,
) -> Response:
    return png(images.grid(await app.state.painter.draw(seed, start, count, label)))


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
