"""Fitting the prediction of SI-SNR from estimates, on planted scores."""

import numpy as np
import pytest

from espnet2_tisdiss import TisdissError
from espnet2_tisdiss.evaluate.by_depth import MixtureScores, Score
from espnet2_tisdiss.evaluate.calibrating import calibrate


def planted(count, noise=2.0):
    """Scores whose SI-SNR is 3 - 5 likeness - 0.5 overlap, with errors of a known deviation."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        one = MixtureScores(None)
        for n_re in (1, 2):
            likeness, overlap = rng.uniform(0, 1), rng.uniform(-20, 0)
            si_snr = 3 - 5 * likeness - 0.5 * overlap + noise * rng.standard_normal()
            traits = {"likeness": likeness, "overlap": overlap}
            one.scores.append(Score(n_re, (1, 2), si_snr, si_snr, 0.1, **traits))
        found.append(one)
    return found


def test_planted_weights_and_errors_are_found():
    found = calibrate("name", planted(2000))
    fitted = found.calibration
    assert (fitted.model, fitted.mixtures) == ("name", 2000)
    assert (fitted.constant, fitted.likeness, fitted.overlap) == pytest.approx(
        (3, -5, -0.5), abs=0.3
    )
    assert found.error == pytest.approx(2 * np.sqrt(2 / np.pi), abs=0.1)
    assert fitted.interval_of_errors(0.8) == pytest.approx((-2.56, 2.56), abs=0.2)  # of a normal
    good = [score for one in planted(2000) for score in one.scores if score.si_snri >= 5]
    share = np.mean([fitted.expected(score.traits) < fitted.poor for score in good])
    assert share == pytest.approx(0.05, abs=0.005)


def test_errors_are_those_of_mixtures_that_the_fit_has_not_seen():
    rng = np.random.default_rng(1)
    mixtures = planted(50, noise=0)
    for one in mixtures[::2]:  # the other half of the mixtures is unchanged
        one.scores[:] = [
            Score(1, (1, 2), score.si_snr + 100, 0.0, 0.1, None, None, None, *score.traits)
            for score in one.scores
        ]
    rng.shuffle(mixtures[1::2])
    errors = calibrate("name", mixtures).calibration.errors
    assert (errors[0], errors[-1]) == pytest.approx((-100, 100), abs=1)


def test_where_nothing_is_well_separated_all_of_it_is_poor():
    mixtures = planted(50)
    for one in mixtures:
        one.scores[:] = [
            Score(1, (1, 2), 1.0, 1.0, 0.1, None, None, None, *score.traits) for score in one.scores
        ]
    assert calibrate("name", mixtures).calibration.poor == pytest.approx(1.0)


def test_too_few_mixtures_are_refused():
    with pytest.raises(TisdissError, match="49 scored mixtures are too few"):
        calibrate("name", planted(49))
