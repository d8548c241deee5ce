"""Files that libsndfile cannot read: formats of phones, meeting programs and video."""

import subprocess
import sys
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from espnet2_tisdiss.audio.reading import probe, read_blocks
from espnet2_tisdiss.errors import AudioError

RATE, FRAMES = 48_000, 48_000 * 2 + 123


@pytest.fixture(scope="module")
def tone():
    time = np.arange(FRAMES) / RATE
    return (0.3 * np.sin(2 * np.pi * (300 + 200 * time) * time)).astype(np.float32)


def encode(path, codecs, samples, container=None, video=False, **options):
    """Write samples (n,) as audio tracks, each half as loud as the one before."""
    with av.open(str(path), "w", format=container, options=options) as output:
        if video:
            pictures = output.add_stream("mpeg4", rate=10)
            pictures.width = pictures.height = 64
            pictures.pix_fmt = "yuv420p"
        tracks = [output.add_stream(codec, rate=RATE, layout="mono") for codec in codecs]
        if video:
            for number in range(20):
                picture = av.VideoFrame(64, 64, "yuv420p")
                picture.pts = number
                output.mux(pictures.encode(picture))
            output.mux(pictures.encode(None))
        for number, track in enumerate(tracks):
            frame = av.AudioFrame.from_ndarray(samples[None] / 2**number, "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            context = track.codec_context
            form = av.AudioResampler(
                context.format.name, "mono", RATE, frame_size=context.frame_size or None
            )
            for piece in (*form.resample(frame), *form.resample(None)):
                output.mux(track.encode(piece))
            output.mux(track.encode(None))
    return path


def read(path):
    notices = []
    blocks = list(read_blocks(path, block_seconds=0.3, on_notice=notices.append))
    return np.concatenate(blocks, axis=1)[0], [notice.text for notice in notices]


def test_exact_samples(tmp_path, tone):
    """Delay, padding and edit lists are removed."""
    for name, codec, video, options in [
        ("a.m4a", "aac", False, {}),
        ("a.mp4", "aac", True, {"movflags": "faststart"}),
        ("a.mov", "pcm_s16le", True, {}),
        ("alac.m4a", "alac", False, {}),
        ("a.3gp", "aac", False, {"f": "3gp"}),
        ("a.mka", "flac", False, {}),
        ("a.webm", "libopus", False, {}),
        ("a.mkv", "libopus", True, {}),
    ]:
        path = encode(tmp_path / name, [codec], tone, options.pop("f", None), video, **options)
        samples, notices = read(path)
        assert (len(samples), notices) == (FRAMES, []), name
        assert abs(probe(path).frames - FRAMES) < 0.05 * RATE
        error = np.square(samples - tone).sum() / np.square(tone).sum()
        assert error < 0.01, name  # in time: a shift of 5 samples would be more


def test_formats_without_exact_lengths(tmp_path, tone):
    """Everything that an independent decoder finds."""
    amr = tmp_path / "a.amr"
    frames = np.random.default_rng(0).integers(0, 256, (100, 31), np.uint8)
    amr.write_bytes(b"#!AMR\n" + b"".join(b"\x3c" + frame.tobytes() for frame in frames))
    for path in [
        encode(tmp_path / "a.aac", ["aac"], tone, "adts"),
        encode(tmp_path / "a.avi", ["libmp3lame"], tone, "avi", video=True),
        encode(tmp_path / "live.webm", ["libopus"], tone, "webm", live="1"),
        amr,
    ]:
        with av.open(str(path)) as file:
            counted = sum(frame.samples for frame in file.decode(audio=0))
        samples, notices = read(path)
        assert (len(samples), notices) == (counted, []), path.name
        assert probe(path).frames > 0


def test_cut_files(tmp_path, tone):
    for name, codec, container, options in [
        ("a.mp4", "aac", None, {"movflags": "faststart"}),
        ("frag.mp4", "aac", "mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.webm", "libopus", None, {}),
        ("a.mkv", "aac", None, {}),
        ("a.aac", "aac", "adts", {}),
        ("a.avi", "libmp3lame", None, {}),
    ]:
        path = encode(tmp_path / name, [codec], tone, container, name == "a.mkv", **options)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3 - 7])
        samples, notices = read(path)
        assert 0.3 * FRAMES < len(samples) < 0.9 * FRAMES
        assert any("truncated" in text or "damaged" in text for text in notices), name
        with pytest.raises(AudioError, match="; replace it"):
            list(read_blocks(path))


def test_joined_files(tmp_path, tone):
    for name, options in [("a.m4a", {}), ("a.mp4", {"movflags": "frag_keyframe+empty_moov"})]:
        path = encode(tmp_path / name, ["aac"], tone, **options)
        samples, _ = read(path)
        path.write_bytes(2 * path.read_bytes())
        both, notices = read(path)
        assert notices == ["holds 2 recordings, which are read one after the other"]
        np.testing.assert_array_equal(both, np.tile(samples, 2))


def test_what_ffmpeg_cannot_take_apart(tmp_path, tone):
    path = encode(tmp_path / "a.wv", ["wavpack"], tone)
    path.write_bytes(2 * path.read_bytes())
    samples, notices = read(path)
    assert len(samples) == FRAMES
    assert notices == ["what follows is damaged and was not read"]
    soundfile.write(tmp_path / "a.wav", tone, RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[22] = 0  # channels
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match="no sample can be decoded; replace or convert it"):
        probe(tmp_path / "a.wav")


def test_index_at_the_end_of_a_cut_file(tmp_path, tone):
    path = encode(tmp_path / "a.m4a", ["aac"], tone)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(AudioError, match="index is missing, as after a crash"):
        probe(path)


def test_tracks(tmp_path, tone):
    path = encode(tmp_path / "a.mkv", ["flac", "flac"], tone, video=True)
    samples, notices = read(path)
    np.testing.assert_allclose(samples, tone, atol=1e-3)
    assert notices == ["has 2 audio tracks; the first is read"]
    path = encode(tmp_path / "b.mp4", [], tone, video=True)
    with pytest.raises(AudioError, match=r"b.mp4: holds video, but no sound; remove it"):
        probe(path)


def test_without_pyav_a_file_fails_in_one_line(tmp_path, tone, monkeypatch):
    path = encode(tmp_path / "a.m4a", ["aac"], tone)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        AudioError, match=r"a\.m4a: cannot be read without PyAV: pip install av, or "
    ):
        probe(path)


def test_lists_of_other_files_are_not_followed(tmp_path, tone):
    encode(tmp_path / "a.m4a", ["aac"], tone)
    for name, text in [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\na.m4a\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile a.m4a\n"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="not a readable audio file"):
            probe(tmp_path / name)


def test_memory_is_bounded(tmp_path):
    path = encode(tmp_path / "a.m4a", ["aac"], np.zeros(60 * RATE, np.float32))
    tracemalloc.start()
    count = sum(block.shape[1] for block in read_blocks(path, block_seconds=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60 * RATE
    assert peak < 6 * 4 * RATE  # bytes; some blocks of a second


READ = """
import sys
from espnet2_tisdiss.audio.reading import read_blocks

assert sum(block.size for block in read_blocks(sys.argv[1])) == 1000
assert "av" not in sys.modules
"""


def test_wav_and_flac_files_do_not_wait_for_the_import_of_av(tmp_path):
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, np.zeros(1000), 8000)
        subprocess.run([sys.executable, "-c", READ, tmp_path / name], check=True)
