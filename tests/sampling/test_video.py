"""Videos through a generator that takes images: every frame, its time and the sound; what a kill leaves is used."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gan_export.errors import GanExportError
from gan_export.sampling.apply import open_image_generator
from gan_export.sampling.apply_files import ApplyOptions
from gan_export.sampling.video import apply_to_video
from tests.conftest import Command, refused
from tests.originals.images_in import Srvgg, randomized

av = pytest.importorskip("av")
TIMES = [*range(0, 130, 2), *range(131, 380, 3)]  # of 148 frames in units of 1/30 s: the rate changes
Bytes = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("srvgg") / "realesr.pth"
    torch.save(randomized(Srvgg(4, 1, 2)).state_dict(), path)
    return path


def shown(index: int) -> Bytes:
    """A frame of 36 x 48 in which a square moves."""
    frame = np.full((36, 48, 3), 60, np.uint8)
    frame[8:24, index % 32 : index % 32 + 12] = (200, 160, 40)
    return frame


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 48, 36, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        tone = container.add_stream("aac", rate=44100, layout="mono")
        for i, at in enumerate(TIMES):
            picture = av.VideoFrame.from_ndarray(shown(i), format="rgb24")
            picture.pts, picture.time_base = at, Fraction(1, 30)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        wave = (8000 * np.sin(np.arange(44100 * 2) / 20)).astype(np.int16)
        sound = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts = 44100, 0
        container.mux(tone.encode(sound))
        container.mux(tone.encode())
    return path


def decoded(path: Path) -> tuple[list[Bytes], list[float], bytes]:
    """The frames, their times in seconds, and the packets of the sound."""
    with av.open(str(path)) as container:
        pairs = [(f.to_ndarray(format="rgb24"), float(f.pts * f.time_base)) for f in container.decode(video=0)]
    with av.open(str(path)) as container:
        heard = b"".join(bytes(p) for p in container.demux(audio=0)) if container.streams.audio else b""
    return [f for f, _ in pairs], [t for _, t in pairs], heard


def halved(frame: Bytes) -> npt.NDArray[np.float64]:
    """Means of 2 x 2 pixels: a film's colors have half the size."""
    height, width, channels = frame.shape
    means: npt.NDArray[np.float64] = frame.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3))
    return means


def psnr(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    return float(10 * np.log10(255**2 / max(np.square(a - b).mean(), 1e-9)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_each_frame_goes_through_and_the_sound_stays(suffix: str, film: Path, upscaler: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    with open_image_generator(upscaler) as generator:
        done = apply_to_video(generator, film, tmp_path / f"out{suffix}", progress=lambda *at: steps.append(at))
        before, times, sound = decoded(film)
        want = [generator.make(frame, i).pixels for i, frame in enumerate(before)]
    assert (done.frames, done.there, done.sound) == (len(TIMES), 0, True)
    assert steps[-1] == (len(TIMES), len(TIMES))
    made, made_times, made_sound = decoded(tmp_path / f"out{suffix}")
    assert len(made) == len(want)
    assert min(psnr(halved(a), halved(b)) for a, b in zip(made, want, strict=True)) > 25
    delay = made_times[0] - times[0]  # .mkv has no negative times, and AAC begins 1,024 samples before 0
    assert delay == pytest.approx(1024 / 44100 if suffix == ".mkv" else 0, abs=1e-3)
    np.testing.assert_allclose(np.array(made_times) - delay, times, rtol=0, atol=1e-3)
    assert made_sound == sound
    assert [p.name for p in tmp_path.iterdir()] == [f"out{suffix}"]


class Killed(Exception):
    """Ends a run in its second part."""


def test_what_is_done_is_not_computed_again(film: Path, upscaler: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    resume = ApplyOptions(resume=True)

    def stop(done: int, total: int) -> None:
        if done > 110:
            raise Killed

    with open_image_generator(upscaler) as generator:
        with pytest.raises(Killed):
            apply_to_video(generator, film, out, progress=stop)
        assert not out.exists()
        with pytest.raises(GanExportError, match="holds parts of another video or generator"):
            apply_to_video(generator, film, out, ApplyOptions(resume=True, outscale=1.0))
        done = apply_to_video(generator, film, out, resume)
        assert (done.frames, done.there) == (len(TIMES), 100)
        apply_to_video(generator, film, tmp_path / "whole.mp4")
    frames, times, sound = decoded(out)
    want, want_times, want_sound = decoded(tmp_path / "whole.mp4")
    # x264 may encode the same frames in more than one way, even with one thread
    assert min(psnr(a.astype(float), b.astype(float)) for a, b in zip(frames, want, strict=True)) > 40
    assert (times, sound) == (want_times, want_sound)


def test_what_is_no_video_is_refused(film: Path, upscaler: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        tone = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.int16), format="s16", layout="mono")
        frame.sample_rate = 44100
        container.mux(tone.encode(frame))
        container.mux(tone.encode())
    with open_image_generator(upscaler) as generator:
        for source, target, options, why in (
            (tmp_path / "broken.mp4", "out.mp4", ApplyOptions(), "can't be read as a video"),
            (tmp_path / "absent.mp4", "out.mp4", ApplyOptions(), "no such file"),
            (tmp_path / "sound.mkv", "out.mp4", ApplyOptions(), "it holds no video"),
            (film, "out.gif", ApplyOptions(), r"a video is written as \.mp4, \.mkv, \.mov"),
            (film, "out.mp4", ApplyOptions(bits=16), "--bits 16: only images have it"),
            (film, "out.mp4", ApplyOptions(side_by_side=True), "--side-by-side: only images have it"),
        ):
            with pytest.raises(GanExportError, match=why):
                apply_to_video(generator, source, tmp_path / target, options)
        with pytest.raises(GanExportError, match="is the input; name another output"):
            apply_to_video(generator, film, film)
    assert not list(tmp_path.glob("out*"))


def test_the_command_and_its_missing_extra(
    film: Path, upscaler: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.mkv"
    made = command("gan-sample", "apply", upscaler, film, "-o", out, "--outscale", "1")
    assert made.code == 0, made.err
    assert f"wrote {len(TIMES)} frames to" in made.out
    assert "with sound" in made.out
    with av.open(str(out)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (48, 36)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    line = refused(command("gan-sample", "apply", upscaler, film, "-o", tmp_path / "other.mkv"))
    assert "a video needs av: pip install 'gan-export[video]'" in line
