"""The models that come with the package keep their promises."""

import hashlib
import re

import numpy as np
import pytest
import soundfile
import torch
import yaml
from recipe_folder import REPOSITORY

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.pretrained.bundled import (
    DEFAULT_MODEL,
    MODELS,
    bundled_model,
    bundled_models,
    example,
)
from espnet2_tisdiss.recipes.tools.bundle_model import MODEL_KEYS

FOLDER = MODELS / DEFAULT_MODEL


def si_snr(estimate, source):
    estimate, source = estimate - estimate.mean(), source - source.mean()
    target = estimate @ source / (source @ source) * source
    return 10 * np.log10(target @ target / np.square(estimate - target).sum())


def read_example():
    return [soundfile.read(example() / f"{part}/two_voices.wav")[0] for part in ("mix", "s1", "s2")]


def test_names():
    assert bundled_models() == ["mini", "voices"]
    assert bundled_model() == FOLDER
    with pytest.raises(TisdissError, match="^maxi: no model .* there: mini, voices$"):
        bundled_model("maxi")


def test_weights_are_small_float32_and_of_the_recorded_sum():
    content = (FOLDER / "model.pth").read_bytes()
    assert len(content) <= 12_000_000
    record = f"{hashlib.sha256(content).hexdigest()}  model.pth\n"
    assert (FOLDER / "SHA256SUMS").read_text() == record
    weights = torch.load(FOLDER / "model.pth", weights_only=True)
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_nothing_of_the_machine_it_was_trained_on():
    texts = [(FOLDER / name).read_text() for name in ("config.yaml", "RESULTS.md", "README.md")]
    assert not any(re.search(r"\b(exp|dump|data|downloads|work|home)/", text) for text in texts)


def test_fine_tuning_is_of_this_model():
    config = yaml.safe_load((FOLDER / "config.yaml").read_text())
    tuned = yaml.safe_load((REPOSITORY / "conf" / f"finetune_{DEFAULT_MODEL}.yaml").read_text())
    assert {key: tuned[key] for key in MODEL_KEYS} == {key: config[key] for key in MODEL_KEYS}


def first_table(text):
    """Return the rows of a page's first table by N_re: name of a column to its cell."""
    table = re.search(r"^\|N_re\|.*(?:\n\|.*)+", text, re.MULTILINE)[0]
    names, _, *rows = [line[1:-1].split("|") for line in table.splitlines()]
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def test_the_card_has_the_figures_of_the_results():
    card = first_table((FOLDER / "README.md").read_text())
    results = (FOLDER / "RESULTS.md").read_text().split("\n## test_")[1:]
    assert len(next(iter(card.values()))) == len(results) + 2  # N_re and GMAC/s
    for column, section in enumerate(results, start=1):
        found = first_table(section)
        assert found.keys() == {"mixture", *card}
        for n_re, row in card.items():
            assert list(row.values())[column] == found[n_re]["SI_SNRi"]
            assert row["GMAC/s"] == found[n_re]["GMAC/s"]


def test_example_is_a_mixture_of_its_sources():
    files = [example() / f"{part}/two_voices.wav" for part in ("mix", "s1", "s2")]
    assert sum(file.stat().st_size for file in files) < 600_000
    rate = SeparateSpeech.from_pretrained().sample_rate
    assert {(soundfile.info(f).samplerate, soundfile.info(f).subtype) for f in files} == {
        (rate, "PCM_16")
    }
    mixture, *sources = read_example()
    np.testing.assert_allclose(sum(sources), mixture, rtol=0, atol=2.01 / 2**15)


def test_it_separates_its_example():
    mixture, *sources = read_example()
    model = SeparateSpeech.from_pretrained()
    one, other = model.recording(mixture, model.sample_rate)
    own = np.mean([si_snr(mixture, source) for source in sources])
    orders = [(one, other), (other, one)]
    best = max(np.mean(list(map(si_snr, order, sources))) for order in orders)
    assert best - own > 5
