"""docs/finetuning.md: fine-tuning the package's model on a user's data directory."""

import re

import numpy as np
import pytest
import soundfile
from recipe_folder import REPOSITORY, Recipe

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.pretrained.bundled import bundled_model, example

PARTS = {"wav.scp": "mix", "spk1.scp": "s1", "spk2.scp": "s2"}
# of the example, in samples: pieces of 2 s
PIECES = {"train": (0, 4000), "valid": (2000,), "test": (8000,)}
CONFIG = ("--enh_config", str(REPOSITORY / "conf/finetune_mini.yaml"))
SHORT = ("--enh_args", "--max_epoch 2 --num_workers 0")


@pytest.fixture
def own_data(tmp_path):
    """Make a folder with nothing but data/ and its audio at 16 kHz, in a path with a space."""
    for name, starts in PIECES.items():
        for scp, part in PARTS.items():
            samples, rate = soundfile.read(example() / part / "two_voices.wav")
            table = {}
            for start in starts:
                path = tmp_path / "own audio" / name / part / f"{start}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                piece = samples[start : start + 2 * rate]
                soundfile.write(path, np.repeat(piece, 2), 2 * rate)
                table[f"{name}{start}"] = str(path.relative_to(tmp_path))
            write_scp(tmp_path / "data" / name / scp, table)
    return Recipe(tmp_path)


def first_validation(log):
    return float(re.search(r"epoch 1/2: .* valid loss (-?[\d.]+)", log)[1])


@pytest.mark.slow
def test_training_goes_on_from_the_packages_model(own_data, monkeypatch):
    weights = str(bundled_model() / "model.pth")
    tuned = own_data.stage(
        2, 6, "--resample", "true", *CONFIG, *SHORT, "--enh_tag", "tuned", "--init_param", weights
    )
    scratch = own_data.stage(6, 6, *CONFIG, *SHORT, "--enh_tag", "scratch")
    # minus the SI-SNR in dB, which is that of the trained model, not of a new one
    assert first_validation(tuned) < -5
    assert first_validation(scratch) > first_validation(tuned) + 4

    monkeypatch.chdir(own_data.folder)
    model = SeparateSpeech.from_pretrained("exp/enh_tuned")
    mixture, rate = soundfile.read("own audio/test/mix/8000.wav")
    sources = np.stack([soundfile.read(f"own audio/test/s{n}/8000.wav")[0] for n in (1, 2)])
    voices = model.recording(mixture, rate)
    assert voices.shape == sources.shape
    likeness = np.abs(np.corrcoef([*voices, *sources])[:2, 2:])  # (estimate, source)
    assert sorted(likeness.argmax(axis=1)) == [0, 1]
    assert likeness.max(axis=1).min() > 0.8
