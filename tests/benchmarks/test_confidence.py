"""Measuring the accuracy of the expected quality, on planted scores and with a tiny model."""

import numpy as np
import pytest
from confidence import PICTURE, Measured, main, table_of_poor, ways_of_stopping
from noise_mixtures import write_noise_mixtures

from espnet2_tisdiss.evaluate.by_depth import MixtureScores, Score
from espnet2_tisdiss.separate.calibration import Calibration

ERRORS = tuple(np.linspace(-5, 5, 11).tolist())


def calibration(model="", poor=4.0):
    """The expected SI-SNR is minus the overlap."""
    return Calibration(model, 0.0, 0.0, -1.0, ERRORS, poor, 100)


def planted():
    """Two mixtures: one is at 12 dB from the second depth on, the other one never."""
    found = []
    for gains in ((6, 12, 12), (2, 3, 1)):
        one = MixtureScores(None)
        for n_re, gain in enumerate(gains, start=1):
            change = None if n_re == 1 else -5.0 * n_re
            traits = {"likeness": 0.0, "overlap": -float(gain)}
            score = Score(n_re, (1, 2), gain, gain, 0.1, change=change, **traits)
            one.scores.append(score)
        found.append(one)
    return Measured(found, [3.0, 5.0])


def test_each_mixture_stops_at_its_own_depth():
    ways = ways_of_stopping(calibration(), planted())
    assert ways["fixed"] == [(1, 4), (2, 7.5), (3, 6.5)]
    assert ways["--until"][0] == (1, 4)  # -2 dB, at once
    assert (2.5, 6.5) in ways["--until"]  # the first at N_re 2, the second one never
    assert ways["--stop-db"][0] == (2, 7.5)


def test_poor_is_counted_by_kind():
    text = table_of_poor(calibration(), {"set": planted()}, 3)
    assert text.splitlines()[-1] == "| set | 0 of 1 | 1 of 1 | 1 of 2 |"


def test_the_section_and_the_picture_are_written(espnet_model, tmp_path, monkeypatch):
    model, config, _ = espnet_model()
    corpus = write_noise_mixtures(tmp_path / "corpus", [0.3] * 4)
    monkeypatch.setattr("confidence.SHOWN", (1, 2))
    page = tmp_path / "page.md"
    page.write_text("<!-- confidence -->\n<!-- /confidence -->\n")
    (tmp_path / "images").mkdir()
    with pytest.raises(Exception, match="has no calibration.yaml"):
        main(["measure", str(config.parent), str(corpus)])
    from espnet2_tisdiss import SeparateSpeech

    name = SeparateSpeech.from_pretrained(config.parent).fingerprint
    calibration(name).save(config.with_name("calibration.yaml"))
    main(["measure", str(config.parent), str(corpus), "--page", str(page)])
    text = page.read_text()
    assert "| corpus | 1 |" in text and "| all | 2 |" in text and "| fixed 3 |" in text
    assert (tmp_path / "images" / PICTURE).read_bytes().startswith(b"\x89PNG")
