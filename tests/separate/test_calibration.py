"""Predicting quality from estimates: planted traits, planted errors, and its uses."""

import logging

import numpy as np
import pytest

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.pretrained.layouts import CALIBRATION
from espnet2_tisdiss.separate.calibration import (
    Calibration,
    ExpectedQuality,
    Traits,
    traits_of,
)

RATE = 8000
TIME = np.arange(RATE) / RATE
LOW, HIGH = np.sin(2 * np.pi * 500 * TIME), np.sin(2 * np.pi * 2000 * TIME)


def planted(model="", **changes):
    """A calibration whose errors are spread evenly from -5 to 5 dB."""
    errors = tuple(np.linspace(-5, 5, 11).tolist())
    facts = {"constant": 10.0, "likeness": -4.0, "overlap": -0.5, "errors": errors}
    return Calibration(model, **facts | {"poor": 6.0, "mixtures": 100} | changes)


@pytest.mark.parametrize(
    ("estimates", "likeness", "overlap"),
    [
        ([LOW, HIGH], 0, -30),
        ([1e-3 * LOW, 1e3 * HIGH], 0, -30),
        ([LOW, LOW], 1, 0),
        # 0.8 of the first is in the second, too; the bins of both are shared alike
        ([LOW, 0.8 * LOW + 0.6 * HIGH], 0.8, None),
        ([LOW, LOW, LOW], 1, 0),
        ([LOW], 0, -30),
        ([0 * LOW, 0 * LOW], 0, -30),
        ([LOW[:99], HIGH[:99]], None, -30),  # too short for a spectrum
    ],
)
def test_traits_of_planted_estimates(estimates, likeness, overlap):
    estimates = np.array(estimates)
    traits = traits_of(estimates.sum(0), estimates, RATE)
    assert likeness is None or traits.likeness == pytest.approx(likeness, abs=0.01)
    assert overlap is None or traits.overlap == pytest.approx(overlap, abs=0.1)


def test_overlap_is_that_at_the_level_in_the_mixture():
    # half of the power of the mixture is in bins that both share, in the proportion 1 to 3
    both = np.array([LOW + HIGH, np.sqrt(3) * np.cos(2 * np.pi * 500 * TIME)])
    scaled = both * [[50.0], [0.2]]
    traits = traits_of(both.sum(0), scaled, RATE)
    shares = (1 / 5, 4 / 5)  # of the power: HIGH only, LOW with 1 and 3 quarters
    expected = 10 * np.log10(shares[0] * 0 + shares[1] * 4 * (1 / 4) * (3 / 4))
    assert traits.overlap == pytest.approx(expected, abs=0.1)


def test_probabilities_follow_from_the_errors():
    traits = Traits(0.5, -10.0)  # 10 - 2 + 5 = 13 dB
    calibration = planted()
    assert calibration.expected(traits) == pytest.approx(13)
    for si_snr, probability in ((13, 0.5), (10.5, 0.75), (20, 0), (0, 1)):
        assert calibration.probability(traits, si_snr) == pytest.approx(probability)
    assert calibration.interval_of_errors(0.8) == pytest.approx((-4, 4))


def test_the_file_comes_back(tmp_path):
    path = tmp_path / CALIBRATION
    planted("abc").save(path)
    assert Calibration.load(path) == planted("abc")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model: a",
        "errors: 3",
        "[1, 2]",
        "model: a\nconstant: .nan\nlikeness: 1\noverlap: 1\nerrors: [1, 2]\npoor: 1\nmixtures: 1",
        "model: a\nconstant: x\nlikeness: 1\noverlap: 1\nerrors: [1, 2]\npoor: 1\nmixtures: 1",
        "model: a\nconstant: 1\nlikeness: 1\noverlap: 1\nerrors: [2, 1]\npoor: 1\nmixtures: 1",
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, text):
    path = tmp_path / CALIBRATION
    path.write_text(text)
    with pytest.raises(TisdissError, match=str(path)) as caught:
        Calibration.load(path)
    assert "\n" not in str(caught.value)


def test_a_recording_counts_its_chunks_by_their_length():
    expected = ExpectedQuality(planted())
    assert expected.si_snr is None and not expected.doubt
    expected.add(8.0, 3000)
    expected.add(2.0, 1000)
    assert expected.si_snr == pytest.approx(6.5) and not expected.doubt
    expected.add(5.0, 4000)
    assert expected.doubt == "doubtful: probably separated poorly"
    assert ExpectedQuality(None).si_snr is None


@pytest.fixture
def model(espnet_model) -> SeparateSpeech:
    _, config, weights = espnet_model()
    return SeparateSpeech(config, weights)


def calibrated(model, tmp_path, **changes) -> SeparateSpeech:
    """Return the model, loaded again with a planted calibration."""
    planted(model.fingerprint, **changes).save(tmp_path / CALIBRATION)
    return SeparateSpeech(tmp_path / "config.yaml", tmp_path / "model.pth")


def test_without_the_file_nothing_is_known(model):
    assert model.calibration is None
    message = "no calibration.yaml next to its weights.* tisdiss calibrate"
    with pytest.raises(TisdissError, match=message):
        model.until(np.ones((1, 800), np.float32), 10)
    with pytest.raises(TisdissError, match=message):
        model.recording(np.ones(800, np.float32), RATE, until_db=10)


def test_a_file_of_other_weights_is_not_used(model, tmp_path, caplog):
    planted("other").save(tmp_path / CALIBRATION)
    assert model.calibration is None
    assert "made for other weights and is not used; run tisdiss calibrate again" in caplog.text


def test_repeats_until_the_quality_is_probable(model, tmp_path):
    model = calibrated(model, tmp_path)
    mixtures = [0.1 * np.random.randn(length).astype(np.float32) for length in (3000, 2000, 900)]
    by_depth = np.array(
        [
            [
                model.calibration.expected(traits_of(mixture, wave, RATE))
                for mixture, wave in zip(mixtures, estimate.waves, strict=True)
            ]
            for estimate in model.anytime(mixtures, 4, scale="estimate")
        ]
    )
    wanted = float(np.sort(by_depth.ravel())[5:7].mean())
    enough = by_depth >= wanted
    expected = np.where(enough.any(axis=0), enough.argmax(axis=0) + 1, 4)
    assert len(set(expected)) > 1  # the items stop at different depths
    # the planted errors are above 2 dB with a probability of 0.3
    found = model.until(mixtures, wanted + 2, 0.3 - 1e-6, 4)
    assert found.n_re.tolist() == expected.tolist()
    assert found.expected == by_depth[found.n_re - 1, range(3)].tolist()
    for item, depth in enumerate(expected.tolist()):
        np.testing.assert_array_equal(
            found.waves[item], model.depths(mixtures, [depth])[depth][item]
        )
    for name, options in (("si_snr", {"si_snr": np.nan}), ("probability", {"probability": 1})):
        with pytest.raises(ValueError, match=f"{name} must be a number"):
            model.until(mixtures, **{"si_snr": 10} | options)


def test_recordings_and_files_say_what_to_expect(model, tmp_path, caplog, monkeypatch):
    import soundfile

    # too short for the other signs of a doubtful separation
    samples = 0.1 * np.random.randn(3 * RATE // 2).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, "FLOAT")
    chunked = {"chunk_seconds": 0.5, "overlap_seconds": 0.0, "keep_rumble": True}
    expected = []
    for chunk in np.split(samples, 3):
        (wave,) = model.depths([chunk], [2], scale="estimate")[2]
        expected.append(planted().expected(traits_of(chunk, wave, RATE)))
    model = calibrated(model, tmp_path, poor=max(expected) + 1)
    (result,) = model.files(tmp_path / "a.wav", tmp_path / "out", n_re=[1, 2], **chunked)
    assert result.expected_si_snr == pytest.approx(np.mean(expected), abs=1e-3)
    doubt = "doubtful: probably separated poorly"
    assert doubt in result.notices
    with caplog.at_level(logging.WARNING):
        model.recording(samples, RATE, **chunked)
    assert doubt in caplog.text
    # the quality that decided the depth is the one that is reported
    monkeypatch.delattr("espnet2_tisdiss.separate.recordings.traits_of")
    # an unreachable quality runs to the end, one that is always reached stops at once
    for until_db, n_re in ((100.0, 2), (-100.0, 1)):
        (until,) = model.files(
            tmp_path / "a.wav", tmp_path / f"{n_re}", until_db=until_db, **chunked
        )
        assert until.n_re == [n_re] * 3
        is_same = until.expected_si_snr == pytest.approx(result.expected_si_snr)
        assert is_same == (n_re == 2)
