"""Audio of data directories: what is read, what is refused, and what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss.audio.reading import probe
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.signals import read_signal, write_signal

# position of the file size minus 8 bytes in each format's header
SIZE_AT = {"WAV": slice(4, 8), "AIFF": slice(4, 8), "RF64": slice(20, 28)}


@pytest.mark.parametrize("container", SIZE_AT)
def test_a_header_that_tells_another_size(tmp_path: Path, container: str) -> None:
    path = tmp_path / "audio"
    soundfile.write(path, np.full(1000, 0.5), 8000, "PCM_16", format=container)
    content = bytearray(path.read_bytes())
    at = SIZE_AT[container]
    order = "big" if container == "AIFF" else "little"
    own = len(content) - 8
    assert int.from_bytes(content[at], order) == own
    # all samples are there, so that the size of the file does not matter
    for size in (0, 0xFFFFFFFF, 0x7FFFF024, own - 8, own + 1, own + 2, own + 16, 2**30):
        content[at] = size.to_bytes(at.stop - at.start, order)
        path.write_bytes(content)
        assert probe(path).frames == len(read_signal(str(path)).samples) == 1000


def test_a_wav_file_as_sox_writes_it_into_a_pipe(tmp_path: Path) -> None:
    path, samples = tmp_path / "piped.wav", np.arange(1000) / 2**15
    soundfile.write(path, samples, 8000, "PCM_16")
    content = bytearray(path.read_bytes())
    content[4:8], content[40:44] = (size.to_bytes(4, "little") for size in (0x7FFFF024, 0x7FFFF000))
    path.write_bytes(content)
    np.testing.assert_array_equal(read_signal(str(path)).samples, samples)


@pytest.mark.promise("disk-full")
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_full_disk_names_the_file(tmp_path: Path, full_disk: None, name: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 1000)
    with pytest.raises(OSError, match=f"File too large: '{tmp_path / name}'$"):
        write_signal(tmp_path / name, noise, 8000, "PCM_16")
    assert not list(tmp_path.iterdir())


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TisdissError) as error:
        write_signal(tmp_path / "a.wav", np.array([0.5, -1.25]), 8000, "PCM_16")
    assert str(error.value) == (
        f"{tmp_path}/a.wav: PCM_16 would clip its samples, whose peak is 1.25"
    )
    with pytest.raises(TisdissError) as error:
        write_signal(tmp_path / "a.flac", np.zeros(2), 8000, "FLOAT")
    assert str(error.value) == f"{tmp_path}/a.flac: FLAC cannot hold FLOAT samples"
    assert not list(tmp_path.iterdir())
