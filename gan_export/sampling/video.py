"""A generator that takes images over a video, frame by frame, with its sound; what is done of it outlives a kill."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gan_export._lib.escape import json_text
from gan_export._lib.extras import explained
from gan_export._lib.fs import atomic_file, write_text
from gan_export.errors import GanExportError, Topic, first_line, linked, printable
from gan_export.sampling import image_files
from gan_export.sampling.apply import ImageGenerator
from gan_export.sampling.apply_files import ApplyOptions, scaled_size
from gan_export.sampling.tiles import Pixels

Done = Callable[[int], None]  # of the frames so far
SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v")
_TARGETS = (".mp4", ".mkv", ".mov")  # that take H.264
_PART = 100  # frames of a part: what a kill costs at most
_X264 = {"crf": "18", "bf": "0"}  # without frames that look ahead, parts can be joined as they are


@dataclass(frozen=True, slots=True)
class Filmed:
    """The result: frames of the video, how many of them were there already, and whether there is sound."""

    frames: int
    there: int
    sound: bool


@linked(Topic.APPLY)
def apply_to_video(
    generator: ImageGenerator,
    source: Path,
    target: Path,
    options: ApplyOptions | None = None,
    *,
    identity: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Filmed:
    """Write what `generator` makes of each frame of `source` to `target` as H.264, with the sound as it is.

    Frame i has index i.  Frames are kept in parts beside `target` until all are done; with `options.resume`, parts of
    the same job are not computed again.
    identity: of the generator and its settings; parts with another one are of another job
    progress: called with the frames done and in all; in all is 0 if the file doesn't say
    Raises GanExportError for a file without video, a target that isn't .mp4, .mkv or .mov, and sound that it can't
    have; UnavailableError without PyAV.
    """
    options = options or ApplyOptions()
    _check(source, target, options)
    with explained("a video"):
        import av
    folder = target.with_name(f".{target.name}.parts")
    _prepare(folder, _job(source, options, identity), resume=options.resume)
    try:
        with av.open(str(source)) as container:
            stream = _video_of(container)
            total = stream.frames or int(float(container.duration or 0) / 1e6 * float(stream.average_rate or 0))
            frames = _frames(container, stream)
            count, there = _write_parts(generator, frames, folder, options, _counted(progress, total))
        if not count:
            raise GanExportError("it holds no frames")
        with atomic_file(target) as temporary:
            sound = _join(source, folder, temporary)
    except GanExportError as e:
        raise GanExportError(f"{printable(str(source))}: {e}") from None
    except av.error.FFmpegError as e:
        raise GanExportError(f"{printable(str(source))} can't be read as a video: {first_line(e, 120)}") from None
    shutil.rmtree(folder)
    return Filmed(count, there, sound)


@dataclass(frozen=True, slots=True)
class _Frame:
    """A decoded frame: its number, and its time in units of `base`."""

    index: int
    pts: int
    base: Fraction
    decoded: Any

    def pixels(self) -> Pixels:
        """Return it in RGB, turned as the file says."""
        turned = np.rot90(self.decoded.to_ndarray(format="rgb24"), (getattr(self.decoded, "rotation", 0) or 0) // 90)
        return np.ascontiguousarray(turned)


def _check(source: Path, target: Path, options: ApplyOptions) -> None:
    if not source.is_file():
        raise GanExportError(f"{printable(str(source))}: no such file")
    if target.suffix.lower() not in _TARGETS:
        raise GanExportError(f"{printable(target.name)}: a video is written as {', '.join(_TARGETS)}")
    if target.exists() and source.samefile(target):
        raise GanExportError(f"{printable(str(source))} is the input; name another output with -o")
    for flag, given in (("--side-by-side", options.side_by_side), ("--bits 16", options.bits == 16)):
        if given:
            raise GanExportError(f"{flag}: only images have it, {printable(source.name)} is a video; leave it out")


def _job(source: Path, options: ApplyOptions, identity: str) -> str:
    """Return the hash of what determines the frames."""
    stat = source.stat()
    settings = (options.resize, options.side, options.outscale)
    return hashlib.sha256(repr((stat.st_size, stat.st_mtime_ns, settings, identity)).encode()).hexdigest()


def _prepare(folder: Path, job: str, *, resume: bool) -> None:
    """Make the folder of the parts; with `resume`, parts of the same job stay."""
    note = folder / "job.json"
    if resume and folder.is_dir() and (not note.is_file() or json.loads(note.read_text()).get("job") != job):
        raise GanExportError(
            f"resume=True: {printable(str(folder))} holds parts of another video or generator; leave it out"
        )
    if folder.is_dir() and not resume:
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    write_text(note, json_text({"job": job}))


def _video_of(container: Any) -> Any:
    if not container.streams.video:
        raise GanExportError("it holds no video")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _frames(container: Any, stream: Any) -> Iterator[_Frame]:
    last = -1
    for index, frame in enumerate(container.decode(stream)):
        base = Fraction(frame.time_base or stream.time_base)
        last = max(frame.pts if frame.pts is not None else last + 1, last + 1)
        yield _Frame(index, last, base, frame)


def _counted(progress: Callable[[int, int], None], total: int) -> Done:
    return lambda done: progress(done, max(total, done) if total else 0)


def _write_parts(
    generator: ImageGenerator, frames: Iterator[_Frame], folder: Path, options: ApplyOptions, done: Done
) -> tuple[int, int]:
    """Write the parts that are not there; return the frames, and those that were there."""
    count = there = 0
    for number, part in itertools.groupby(frames, lambda frame: frame.index // _PART):
        path = folder / f"{number:06}.mp4"
        mark = path.with_suffix(".json")  # written last: the part is whole
        if mark.is_file() and path.is_file():
            skipped = sum(1 for _ in part)
            there += skipped
        else:
            first = next(part)
            with atomic_file(path) as temporary:
                results = ((frame, _applied(generator, frame, options)) for frame in itertools.chain([first], part))
                skipped = _encode(temporary, first, results, done)
            write_text(mark, json_text({"pts": first.pts, "base": str(first.base)}))
        count += skipped
        done(count)
    return count, there


def _applied(generator: ImageGenerator, frame: _Frame, options: ApplyOptions) -> Pixels:
    """Return what the generator makes of a frame, RGB with even sides, as H.264 needs them."""
    pixels = image_files.prepared(frame.pixels(), generator.channels[0], options.resize, options.side)
    made = generator.make(pixels, frame.index, compare=False).pixels
    if options.outscale is not None:
        made = image_files.resized(made, scaled_size(pixels, options.outscale), lanczos=True)
    height, width = (side - side % 2 for side in made.shape[:2])
    if not (height and width and made.shape[2] in (1, 3)):
        raise GanExportError(f"frames of {made.shape[1]} x {made.shape[0]} in {made.shape[2]} channels are no video")
    return np.ascontiguousarray(np.broadcast_to(made[:height, :width], (height, width, 3)))


def _encode(path: Path, first: _Frame, results: Iterator[tuple[_Frame, Pixels]], done: Done) -> int:
    """Write a part, its first frame at time 0; return how many frames it has."""
    import av

    base, count = first.base, 0
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", options=_X264)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        for frame, pixels in results:
            count += 1
            if frame is first:
                stream.height, stream.width = pixels.shape[:2]
            if (stream.height, stream.width) != pixels.shape[:2]:
                raise GanExportError(f"frame {frame.index} has another size than those before it")
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = frame.pts - first.pts, base
            container.mux(stream.encode(picture))
            done(frame.index + 1)
        container.mux(stream.encode())
    return count


def _join(source: Path, folder: Path, target: Path) -> bool:
    """Write the parts one after the other, and the sound of `source`, packet by packet; return whether there is any."""
    import av

    parts = sorted(folder.glob("*.mp4"))
    with av.open(str(source)) as heard, av.open(str(target), "w") as out, av.open(str(parts[0])) as first:
        film = out.add_stream_from_template(first.streams.video[0])
        sound = heard.streams.audio[0] if heard.streams.audio else None
        try:
            track = None if sound is None else out.add_stream_from_template(sound)
            packets = _by_time(_of_parts(parts, film), _of_sound(heard, sound, track))
            out.mux(list(itertools.islice(packets, 1)))
        except (ValueError, av.error.FFmpegError):
            name = printable(sound.codec_context.name) if sound is not None else "none"
            raise GanExportError(f"its sound ({name}) can't be in {target.suffix}; name a .mkv with -o") from None
        for packet in packets:
            out.mux(packet)
    return sound is not None


def _of_parts(parts: list[Path], film: Any) -> Iterator[Any]:
    import av

    for path in parts:
        note = json.loads(path.with_suffix(".json").read_text())
        start = int(note["pts"]) * Fraction(note["base"])
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                if packet.dts is None or packet.pts is None:
                    continue
                base = Fraction(packet.time_base)
                shift = round(start / base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = film
                yield packet


def _of_sound(container: Any, sound: Any, track: Any) -> Iterator[Any]:
    if sound is None:
        return
    for packet in container.demux(sound):
        if packet.dts is not None:
            packet.stream = track
            yield packet


def _by_time(*streams: Iterator[Any]) -> Iterator[Any]:
    """Yield the packets of all streams in order of time, as players read them."""
    waiting = [[packet, stream] for stream in streams if (packet := next(stream, None)) is not None]
    while waiting:
        earliest = min(waiting, key=lambda pair: pair[0].dts * Fraction(pair[0].time_base))
        yield earliest[0]
        earliest[0] = next(earliest[1], None)
        waiting = [pair for pair in waiting if pair[0] is not None]
