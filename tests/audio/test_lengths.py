"""Every sample of a file is read and every missing one is reported, even if the header is wrong.

The expected samples are those that were written; for lossy formats, PyAV counts them.
"""

import struct

import av
import numpy as np
import pytest
import soundfile

from espnet2_tisdiss.audio.containers import stated_file_size
from espnet2_tisdiss.audio.layouts import layout_of
from espnet2_tisdiss.audio.reading import probe, read_blocks, read_samples
from espnet2_tisdiss.errors import AudioError

RATE, FRAMES = 8000, 16_000
# libsndfile's formats whose headers state no length, so a cut cannot be detected
LENGTHLESS = {"IRCAM", "PAF", "PVF", "XI", "SD2", "RAW"}
SPECIAL = {"FLAC", "OGG", "MP3"}  # are tested separately
PAIRS = [
    (container, subtype)
    for container in sorted(set(soundfile.available_formats()) - LENGTHLESS - SPECIAL)
    for subtype in soundfile.available_subtypes(container)
    if subtype not in ("DWVW_12", "DWVW_16", "DWVW_24", "DWVW_N", "MPEG_LAYER_III", "VOX_ADPCM")
]
PLAIN = [(container, "PCM_16") for container in dict(PAIRS) if container not in ("WVE", "HTK")]


@pytest.fixture(scope="module")
def tone():
    """A chirp with noise, so that no two parts are similar."""
    time = np.arange(FRAMES) / RATE
    noise = 0.01 * np.random.default_rng(0).standard_normal(FRAMES)
    return (0.3 * np.sin(2 * np.pi * (300 + 200 * time) * time) + noise).astype(np.float32)


def read(path):
    """Return the samples (n,) and the notices, which must be those of the probe, too."""
    notices, probed = [], []
    blocks = list(read_blocks(path, block_seconds=0.5, on_notice=notices.append))
    probe(path, probed.append)
    assert set(probed) <= set(notices)
    return np.concatenate(blocks, axis=1)[0], notices


def lossless(path):
    """Return what libsndfile reads from an intact file."""
    with soundfile.SoundFile(path) as file:
        return file.read(file.frames, dtype="float32")


def losses(notices):
    return [notice.text for notice in notices if notice.is_loss]


@pytest.mark.parametrize(("container", "subtype"), PAIRS)
def test_an_intact_file_has_no_notice_and_a_cut_one_has(tmp_path, tone, container, subtype):
    path = tmp_path / "a.audio"
    soundfile.write(path, tone, RATE, subtype, format=container)
    intact = lossless(path)
    samples, notices = read(path)
    assert notices == []
    np.testing.assert_array_equal(samples, intact)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    samples, notices = read(path)
    (text,) = losses(notices)
    assert text.startswith("truncated: only ")
    assert 0.3 * FRAMES < len(samples) < 0.8 * FRAMES
    with pytest.raises(AudioError, match="truncated: .*; replace it"):
        list(read_blocks(path))
    if subtype.startswith(("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")) and container != "VOC":
        np.testing.assert_array_equal(samples, intact[: len(samples)])


@pytest.mark.parametrize("stated", ["too small", "too large", "zero"])
@pytest.mark.parametrize(("container", "subtype"), PLAIN)
def test_wrong_length_in_the_header(tmp_path, tone, container, subtype, stated):
    path = tmp_path / "a.audio"
    soundfile.write(path, tone, RATE, subtype, format=container)
    intact, content = lossless(path), bytearray(path.read_bytes())
    layout = layout_of(content)
    for size in layout.sizes:
        length = size.read(content)
        number = {"too small": length // 4, "too large": 3 * length, "zero": 0}[stated]
        field = size.write(number)
        if stated == "zero" and container != "NIST":  # whose numbers are digits
            field = bytes(len(field))
        content[size.position : size.position + len(field)] = field
    path.write_bytes(content)
    samples, notices = read(path)
    np.testing.assert_array_equal(samples, intact)
    expected = {
        "too small": "the header states 0.",
        "too large": "truncated: only ",
        "zero": "the header does not state the length; all 2.000 s were read",
    }
    (notice,) = notices
    assert notice.text.startswith(expected[stated])
    assert notice.is_loss == (stated == "too large")


@pytest.mark.parametrize(
    "container", ["WAV", "WAVEX", "RF64", "RIFX", "AIFF", "SVX", "W64", "CAF", "AU", "NIST"]
)
def test_joined_files(tmp_path, tone, container):
    """The header of the first one states its length only, and the last one may be cut."""
    path, is_riffx = tmp_path / "a.audio", container == "RIFX"
    options = {"endian": "BIG"} if is_riffx else {}
    container = "WAV" if is_riffx else container
    soundfile.write(path, tone, RATE, "PCM_16", format=container, **options)
    content, intact = path.read_bytes(), lossless(path)
    path.write_bytes(3 * content)
    samples, notices = read(path)
    assert [notice.text for notice in notices] == [
        "holds 3 recordings, which are read one after the other"
    ]
    np.testing.assert_array_equal(samples, np.tile(intact, 3))
    assert probe(path).frames == 3 * FRAMES
    path.write_bytes(content + content[: len(content) // 2])
    samples, notices = read(path)
    np.testing.assert_array_equal(samples, np.tile(intact, 2)[: len(samples)])
    assert 1.4 * FRAMES < len(samples) < 1.5 * FRAMES
    (text,) = losses(notices)
    assert text.startswith("truncated: only ") and text.endswith(" of 2.000 s")


def test_chunks_between_joined_files(tmp_path, tone):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone[:1001], RATE, "PCM_U8")
    content = path.read_bytes()
    for rest in (b"", b"LIST" + struct.pack("<I", 6) + b"INFOab"):
        path.write_bytes(2 * (content + rest))
        samples, notices = read(path)
        assert (len(samples), losses(notices), len(notices)) == (2002, [], 1)


@pytest.mark.parametrize("size", [0, 36, 44, 60, 32_044 - 16, 32_044, 32_052, 2**32 - 1])
@pytest.mark.parametrize("data", [None, 0, 0x7FFFF000, 2**32 - 1])
def test_wav_sizes(tmp_path, tone, size, data):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone, RATE)
    content = bytearray(path.read_bytes())
    content[4:8] = size.to_bytes(4, "little")
    if data is not None:
        content[40:44] = data.to_bytes(4, "little")
    path.write_bytes(content)
    samples, notices = read(path)
    assert len(samples) == FRAMES and losses(notices) == []
    assert len(notices) == (data is not None)


def test_chunks_and_tags_after_the_samples_are_not_sound(tmp_path, tone):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone, RATE)
    content = path.read_bytes()
    chunk = b"LIST" + struct.pack("<I", 500) + b"INFO" + b"\xaa" * 496
    for rest in [chunk, chunk + chunk, b"TAG" + b"x" * 125, bytes(1000), b"\0"]:
        path.write_bytes(content + rest)
        samples, notices = read(path)
        assert (len(samples), notices) == (FRAMES, [])


LOSSY = {"mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}


def encoded(path, tone, repeats=4):
    """Write a file, and return its content and the samples (n,) that it decodes to."""
    container, subtype = LOSSY.get(path.suffix[1:], ("FLAC", "PCM_16"))
    soundfile.write(path, np.tile(tone, repeats), RATE, subtype, format=container)
    return path.read_bytes(), lossless(path)


@pytest.mark.parametrize("suffix", [*LOSSY, "flac"])
def test_compressed_files_intact_cut_and_joined(tmp_path, tone, suffix):
    path = tmp_path / f"a.{suffix}"
    content, intact = encoded(path, tone)
    samples, notices = read(path)
    assert (len(samples), notices) == (4 * FRAMES, [])
    np.testing.assert_allclose(samples, intact, rtol=0, atol=1e-5)
    path.write_bytes(content[: len(content) // 2 + 11])
    samples, notices = read(path)
    assert losses(notices) and losses(notices)[0].startswith("truncated: ")
    assert 1.2 * FRAMES < len(samples) < 2.6 * FRAMES
    np.testing.assert_allclose(samples, intact[: len(samples)], rtol=0, atol=1e-5)
    path.write_bytes(3 * content)
    samples, notices = read(path)
    assert probe(path).frames == 3 * len(intact)
    assert [notice.text[:18] for notice in notices] == ["holds 3 recordings"]
    np.testing.assert_allclose(samples, np.tile(intact, 3), rtol=0, atol=1e-5)
    assert read_samples(path).shape == (3 * len(intact), 1)


def test_joined_files_of_other_rates_and_channels(tmp_path, tone):
    path = tmp_path / "a.ogg"
    soundfile.write(path, np.stack([tone, tone], 1), 16_000, format="OGG", subtype="VORBIS")
    stereo = path.read_bytes()
    content, _ = encoded(path, tone, 1)
    path.write_bytes(content + stereo)
    assert probe(path).channels == 1
    assert len(read(path)[0]) == probe(path).frames == FRAMES + FRAMES // 2


@pytest.mark.parametrize("share", [0, 0.4, 1, 3])
def test_xing_header_of_an_mp3(tmp_path, tone, share):
    path = tmp_path / "a.mp3"
    content, intact = encoded(path, tone)
    at = max(content.find(b"Xing"), content.find(b"Info"))
    count = int.from_bytes(content[at + 8 : at + 12])
    patched = bytearray(content)
    patched[at + 8 : at + 12] = int(share * count).to_bytes(4)
    path.write_bytes(patched)
    samples, notices = read(path)
    # without the true number the padding at the end may be sound
    assert len(intact) <= len(samples) <= len(intact) + 576
    np.testing.assert_allclose(samples[: len(intact)], intact, rtol=0, atol=1e-5)
    expected = {0: [], 0.4: ["the header states"], 1: [], 3: ["truncated: only 8"]}[share]
    assert [notice.text[:17] for notice in notices] == expected
    # without the header, tags around: as many samples as PyAV finds
    frame = content.find(b"\xff", at)
    path.write_bytes(b"ID3\x04\0\0\0\0\x01\0" + bytes(128) + content[frame:] + b"TAG" + bytes(125))
    with av.open(str(path)) as file:
        counted = sum(frame.samples for frame in file.decode(audio=0))
    samples, notices = read(path)
    assert (len(samples), notices) == (counted, [])


@pytest.mark.parametrize("stated", [0, 100, 10**6])
def test_flac_of_another_length(tmp_path, tone, stated):
    path = tmp_path / "a.flac"
    content, intact = encoded(path, tone)
    path.write_bytes(content[:22] + stated.to_bytes(4) + content[26:])
    samples, notices = read(path)
    np.testing.assert_array_equal(samples, intact)
    (notice,) = notices
    expected = {
        0: "the header does not state",
        100: "the header states 0.013 s",
        10**6: "truncated",
    }
    assert notice.text.startswith(expected[stated])


@pytest.mark.parametrize("more", [0, 1, 5, 300])
def test_flac_that_ends_in_silence(tmp_path, more):
    """A last frame of a few zeros has fewer bytes than a frame's longest header."""
    soundfile.write(tmp_path / "a.flac", np.zeros(2 * 4096 + more), RATE)
    samples, notices = read(tmp_path / "a.flac")
    assert (len(samples), notices) == (2 * 4096 + more, [])


def test_flac_with_a_damaged_frame(tmp_path, tone):
    path = tmp_path / "a.flac"
    content, intact = encoded(path, tone)
    damaged = bytearray(content)
    damaged[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    path.write_bytes(damaged)
    samples, notices = read(path)
    assert losses(notices)
    assert len(intact) // 2 < len(samples) <= len(intact)


def test_streams_without_an_end(tmp_path, tone):
    path = tmp_path / "a.ogg"
    content, _ = encoded(path, tone)
    last = content.rfind(b"OggS")
    path.write_bytes(content[:last])
    samples, notices = read(path)
    assert 2 * FRAMES < len(samples) < 4 * FRAMES
    assert [notice.text for notice in notices] == ["has no end mark; it may be truncated"]


@pytest.mark.parametrize(
    ("damage", "share", "text"),
    [
        (lambda data: b"no audio yet" * 50 + data, 1, None),
        (lambda data: bytes(5000) + data, 1, None),
        (lambda data: data[1:], 1, None),  # the first frame has the header
        (lambda data: data + b"end" * 500, 1, None),
        (lambda data: data[:1500] + b"\xff\xe0" * 500 + data[2500:], 0.65, "truncated: only "),
    ],
)
def test_an_mp3_with_something_else_inside_is_one_recording(tmp_path, tone, damage, share, text):
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone, RATE)
    path.write_bytes(damage(path.read_bytes()))
    samples, notices = read(path)
    assert len(samples) == pytest.approx(share * FRAMES, abs=0.15 * FRAMES)
    assert all("recordings" not in notice.text for notice in notices)
    assert [one.startswith(text) for one in losses(notices)][:1] == [True] * (text is not None)


def test_an_mp3_with_a_tag_longer_than_the_file(tmp_path, tone):
    path = tmp_path / "a.mp3"
    content, intact = encoded(path, tone, 1)
    path.write_bytes(b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + content)
    samples, notices = read(path)
    assert (len(samples), notices) == (len(intact), [])


def test_mpeg_audio_in_a_wav_is_whole(tmp_path, tone):
    """The number of samples in its header counts the encoder's delay."""
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as output:
        track = output.add_stream("libmp3lame", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.tile(tone, 3)[None], "fltp", "mono")
        frame.sample_rate = 16_000
        output.mux(track.encode(frame))
        output.mux(track.encode(None))
    samples, notices = read(path)
    assert notices == [] and abs(len(samples) - 3 * FRAMES) < 4 * 1152


@pytest.mark.parametrize("start", [b"", b"\xff\xfb\x90\x64", b"\xff\xf1", b"ID3"])
@pytest.mark.parametrize("suffix", [".mp3", ".mp2", ".xyz"])
def test_what_is_no_audio_is_refused_without_chatter(tmp_path, suffix, start, capfd):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(start + np.random.default_rng(0).bytes(8000))
    with pytest.raises(AudioError, match="not a readable audio file|no sample can be decoded"):
        read(path)
    assert capfd.readouterr() == ("", "")


def test_sizes_that_matroska_leaves_open():
    header = b"\x1a\x45\xdf\xa3"
    segment = b"\x18\x53\x80\x67"
    assert stated_file_size(header + b"\x81\0" + segment + b"\x85") == 11 + 5
    assert stated_file_size(header + b"\x81\0" + segment + b"\xff") is None
    assert stated_file_size(header + b"\xff\0" + segment + b"\x85") is None
