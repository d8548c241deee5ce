"""Signs of a doubtful separation: planted channels and estimates."""

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.separate.doubts import (
    channel_powers,
    doubt_of_channels,
    doubt_of_estimates,
    estimate_powers,
)
from espnet2_tisdiss.separate.files import InputFile, separate_files
from espnet2_tisdiss.separate.loudness import ScaleStatistics
from espnet2_tisdiss.separate.options import FileOptions

RATE = 8000
UNRELATED = "the channels are nearly unrelated and may be the speakers already"
ALIKE = "doubtful: perhaps one voice only, or not separated"


def speech(seconds: float = 6.0) -> np.ndarray:
    """Return noise in syllables and pauses."""
    loud = 10 ** np.random.uniform(-2, 0, round(5 * seconds))
    return (0.1 * np.random.randn(round(seconds * RATE)) * loud.repeat(RATE // 5)).astype("f")


def doubt(estimates: np.ndarray, gains: tuple[float, ...] = (1, 1)) -> str:
    """Return the doubt about estimates, which the model returns with gains."""
    raw = estimates * np.array(gains)[:, None]
    statistics = ScaleStatistics(len(raw)).update(estimates.sum(0), raw)
    return doubt_of_estimates(statistics, estimate_powers(RATE).push(raw))


def test_estimates():
    first, second = speech(), speech()
    loudest = [max(wave.reshape(6, RATE).std(axis=1)) for wave in (first, second)]
    second *= loudest[0] / loudest[1]
    weak = second * 10 ** (-12 / 20)
    assert doubt(np.stack([first, second])) == ""
    rare = np.pad(second[: 2 * RATE], (0, 4 * RATE))
    rare *= loudest[0] / max(rare.reshape(6, RATE).std(axis=1))
    assert doubt(np.stack([np.tile(first, 9), np.pad(rare, (0, 48 * RATE))])) == ""
    for gains in ((1, 1), (300, 20)):  # the level is that in the mixture
        twelve = "doubtful: perhaps one voice only, as output {} is 12 dB weaker"
        assert doubt(np.stack([first, weak]), gains) == twelve.format(2)
        assert doubt(np.stack([weak, first]), gains) == twelve.format(1)
        assert doubt(np.stack([first, first + weak]), gains).startswith(ALIKE)
        assert "output 2 is silent" in doubt(np.stack([first, 0 * first]), gains)
    assert doubt(np.stack([first, weak])[:, : 2 * RATE - 1]) == ""
    assert doubt(np.full((2, RATE), 4e-8, np.float32)).startswith("all but silent")
    assert doubt(np.full((2, RATE), 6e-8, np.float32)) == ""
    assert doubt(np.stack([first, first, weak]), (1, 1, 1)) == ""  # measured for two


def channels(*signals: np.ndarray, block: int = 3001) -> str:
    """Return the doubt about channels, read in blocks."""
    powers = channel_powers(RATE)
    for start in range(0, len(signals[0]), block):
        powers.push(np.stack(signals)[:, start : start + block])
    return doubt_of_channels(powers, "mean")


def test_channels():
    left, right, quiet = speech(), speech(), 1e-4 * np.random.randn(6 * RATE)
    for pair in ((left, right), (left + quiet, 0.05 * right), (left, right, speech())):
        assert channels(*pair).startswith(UNRELATED)
        assert channels(*pair) == channels(*pair, block=10**6)
    both, delayed = left + right, np.roll(left + right, 40)
    for pair in (
        (both, both),
        (both, -0.1 * delayed),  # microphones apart
        (left + 0.5 * right, 0.5 * left + right),  # places in a stereo picture
        (left, right, both),
        (left, 0 * left),  # recorded on one side
        (left, 1e-3 * right),
        (0 * left, 0 * left),
        (left,),
    ):
        assert channels(*pair) == ""
    assert channels(left[:RATE], right[:RATE]) == ""  # too short to tell


def test_channels_that_cancel():
    both, other = speech(), speech()
    noise = 1e-3 * np.random.randn(2, len(both))
    for pair in (
        (both, -both),
        (both + noise[0], -both + noise[1]),
        (both + 0.1, -both + 0.1),  # with an offset
        (both[:RATE], -both[:RATE]),
        (both, -0.8 * both),
    ):
        assert channels(*pair).startswith("the channels nearly cancel each other in their mean")
        assert doubt_of_channels(channel_powers(RATE).push(np.stack(pair)), "each") == ""
    for pair in ((both, -0.5 * both), (both, -other), (both, 0 * both), (both, -np.roll(both, 40))):
        assert "cancel" not in channels(*pair)


class Planted:
    """A model whose second estimate is the first one, 20 dB weaker, with other noise."""

    sample_rate, num_spk, hop, fingerprint, calibration = RATE, 2, 64, "planted", None

    def depths(self, waves, n_re, scale):
        noises = [10 ** (-20 / 20) * wave.std() * np.random.randn(len(wave)) for wave in waves]
        pairs = [np.stack([wave, noise]) for wave, noise in zip(waves, noises, strict=True)]
        return {depth: [pair.astype("f") for pair in pairs] for depth in n_re}


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("mean", [UNRELATED, "doubtful: perhaps one voice only, as output 2 is "]),
        ("left", ["doubtful: perhaps"]),
        ("each", [UNRELATED, "channel 1: doubtful: perhaps", "channel 2: doubtful: perhaps"]),
    ],
)
def test_notices_of_a_call_with_a_speaker_in_each_channel(tmp_path, channel, expected):
    soundfile.write(tmp_path / "a.wav", np.stack([speech(), speech()], 1), RATE, "FLOAT")
    items = [InputFile(tmp_path / "a.wav", tmp_path / "out", "a")]
    (result,) = separate_files(Planted(), items, FileOptions((1,), channel=channel))
    assert (result.status, len(result.notices)) == ("done", len(expected))
    for notice, start in zip(result.notices, expected, strict=True):
        assert notice.startswith(start)


def test_arrays_are_warned_of(espnet_model, caplog, monkeypatch):
    _, config, weights = espnet_model()
    model = SeparateSpeech(config, weights)
    monkeypatch.setattr(model, "depths", Planted().depths)
    model.recording(np.stack([speech(), speech()], 1), RATE, channel="each")
    lines = [record.getMessage() for record in caplog.records]
    assert [line[:11] for line in lines] == ["the channel", "channel 1: ", "channel 2: "]
