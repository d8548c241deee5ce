"""Stereo recordings and their scores."""

from __future__ import annotations

import numpy as np
import pytest
import recordings
import soundfile

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.mixtures import EvalMixture, find_mixtures

RATE = 16000


@pytest.fixture
def data(tmp_path):
    """A data directory of one mixture of two noises, the second one twice as loud."""
    sources = np.random.default_rng(0).standard_normal((2, RATE)) * [[0.1], [0.2]]
    for name, signal in (("wav", sources.sum(0)), ("spk1", sources[0]), ("spk2", sources[1])):
        soundfile.write(tmp_path / f"{name}.wav", signal, RATE)
        (tmp_path / f"{name}.scp").write_text(f"FM_0 {tmp_path / name}.wav\n")
    return tmp_path


def made(data):
    return recordings.make_recording(find_mixtures(data, 2)[0], np.random.default_rng(1))


def test_speakers_are_panned_and_sum_to_the_mean_of_the_channels(data):
    one = made(data)
    assert one.channels.shape == (44100, 2) and np.abs(one.channels).max() == pytest.approx(0.9)
    np.testing.assert_allclose(one.speakers.sum(0), one.channels.mean(1), atol=1e-12)
    left, right = (np.corrcoef(channel, one.speakers)[0, 1:] for channel in one.channels.T)
    assert left[0] > right[0] and right[1] > left[1]
    assert -9 < one.level_db < -3  # 6 dB, changed by the panning


def test_the_score_is_known_whatever_the_order_of_the_estimates(data):
    one = made(data)
    noise = np.random.default_rng(2).standard_normal(one.speakers.shape)
    noise *= 0.1 * one.speakers.std(axis=1, keepdims=True)
    found = recordings.score(one.speakers, (one.speakers + noise)[::-1])
    # the noise is white up to 22.05 kHz, and 8 of these are left at 16 kHz
    np.testing.assert_allclose(found[0], 20, atol=0.2)
    np.testing.assert_allclose(found[1], 20 + 10 * np.log10(22.05 / 8), atol=0.3)


def test_sources_of_two_lengths_are_refused(data):
    soundfile.write(data / "short.wav", np.ones(RATE // 2), RATE)
    mixture = EvalMixture("one", data / "wav.wav", (data / "spk1.wav", data / "short.wav"))
    with pytest.raises(TisdissError, match="^one: its sources differ in rate or length$"):
        recordings.make_recording(mixture, np.random.default_rng(0))


@pytest.mark.slow
def test_the_command_line_is_run_and_scored(data, espnet_model, tmp_path, capsys):
    _, _, weights = espnet_model()
    page = tmp_path / "page.md"
    page.write_text("<!-- recordings -->\n<!-- /recordings -->\n")
    options = ["--out", str(tmp_path / "out"), "--n_re", "1", "2", "--threads", "1"]
    recordings.main([str(data), *options, "--model", str(weights), "--page", str(page)])
    rows = capsys.readouterr().out.splitlines()
    assert {"1", "2", "FM_0"} <= {row.split()[1] for row in rows if row.startswith("| ")}
    assert (tmp_path / "images/recordings.png").is_file()
    assert "| FM_0 |" in page.read_text()
