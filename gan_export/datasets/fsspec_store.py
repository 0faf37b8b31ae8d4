"""A store on any file system that fsspec supports: S3 and compatible ones, Google Cloud Storage, HDFS, ...

There, an object appears as a whole or not at all.  There are no locks: two runs of one job do the work twice and write
the same bytes.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gan_export.datasets.records import OutputFile, TreeDigest, changed, digest
from gan_export.errors import GanExportError, UnavailableError, printable


class Remote:
    """A folder of a file system that fsspec supports, by its URL."""

    def __init__(self, url: str) -> None:
        """Raises UnavailableError for a missing library, GanExportError for an unsupported URL."""
        self.shown = printable(url)
        try:
            import fsspec
        except ImportError:
            raise UnavailableError(f"{self.shown} needs fsspec: pip install fsspec, and s3fs for S3") from None
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as e:
            raise UnavailableError(f"{self.shown}: {printable(str(e))}") from None
        except Exception as e:  # each file system raises its own errors
            raise self._error(e) from None

    def write(self, name: str, data: bytes) -> None:
        with self._said():
            self._put(name, lambda path: self._fs.pipe_file(path, data))

    def create(self, name: str, data: bytes) -> bool:
        if self.read(name) is not None:
            return False
        self.write(name, data)
        return True

    def read(self, name: str) -> bytes | None:
        with self._said():
            try:
                data: bytes = self._fs.cat_file(self._at(name))
            except FileNotFoundError:
                return None
            return data

    def head(self, name: str, size: int) -> tuple[bytes, int] | None:
        with self._said():
            try:
                with self._fs.open(self._at(name), "rb") as f:
                    return f.read(size), f.seek(0, 2)
            except (FileNotFoundError, IsADirectoryError):
                return None

    def names(self, folder: str) -> list[str]:
        with self._said():
            try:
                found = self._fs.ls(self._at(folder), detail=False)
            except FileNotFoundError:
                return []
            return sorted(n for n in (p.rstrip("/").rpartition("/")[2] for p in found) if n)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        path = Path(tempfile.mkdtemp(prefix="gan-sample-"))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def publish(self, scratch: Path, piece: OutputFile) -> None:
        with self._said():
            if not piece.name.endswith("/"):
                self._put(piece.name, lambda path: self._fs.put_file(str(scratch / piece.name), path))
                return
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm(self._at(piece.name), recursive=True)
            files = sorted((scratch / piece.name).iterdir())
            data = {self._at(f"{piece.name}{f.name}"): f.read_bytes() for f in files}
            self._put(f"{piece.name}x", lambda path: self._fs.pipe(data))

    def fault(self, piece: OutputFile) -> str:
        with self._said():
            try:
                if piece.name.endswith("/"):
                    tree = TreeDigest()
                    for name in self.names(piece.name):
                        tree.add(name, self._fs.cat_file(self._at(f"{piece.name}{name}")))
                    return "" if tree.piece(piece.name) == piece else f"{piece.name} was changed or lacks files"
                with self._fs.open(self._at(piece.name), "rb") as f:
                    if piece.offset is not None:
                        f.seek(piece.offset)
                    size = None if piece.offset is None else piece.bytes
                    return "" if digest(f, size) == piece.sha256 else changed(piece)
            except FileNotFoundError:
                return f"{piece.name} is missing"

    @contextlib.contextmanager
    def local(self, pieces: Iterable[OutputFile]) -> Iterator[Path]:
        with self.scratch() as folder:
            with self._said():
                names = [f"{p.name}{n}" for p in pieces for n in (self.names(p.name) if p.name.endswith("/") else [""])]
                for name in names:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    self._fs.get_file(self._at(name), str(folder / name))
            yield folder

    def remove(self, name: str) -> None:
        with self._said(), contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._at(name), recursive=True)

    def settle(self) -> None: ...

    def free(self) -> int | None:
        return None

    def _put(self, name: str, put: Callable[[str], None]) -> None:
        """Call `put` with the path of `name`; create its folder if the file system has folders."""
        path = self._at(name)
        try:
            put(path)
        except FileNotFoundError:
            if self._fs.async_impl:  # an object store, in which only the bucket can be missing
                raise
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            put(path)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """Convert any error to one line; the libraries of file systems raise types of their own."""
        try:
            yield
        except GanExportError:
            raise
        except Exception as e:
            raise self._error(e) from None

    def _error(self, e: Exception) -> GanExportError:
        lines: Any = str(e).splitlines() or [type(e).__name__]
        return GanExportError(f"{self.shown}: {printable(lines[0])}")
