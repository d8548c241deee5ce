"""The comment in a file that says how it was made."""

import numpy as np
import pytest
import soundfile
import torch

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.audio.writing import CONTAINERS, AudioWriter, OutputFormat, read_comment

RATE = 8000


@pytest.fixture
def model(espnet_model) -> SeparateSpeech:
    _, config, weights = espnet_model()
    return SeparateSpeech(config, weights)


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_format_holds_a_comment(tmp_path, container):
    path = tmp_path / f"a.{container}"
    with AudioWriter(path, RATE, 8000, OutputFormat(container), "tisdiss: a 1; b ä") as writer:
        writer.write(np.zeros(8000, np.float32))
    assert (read_comment(path), soundfile.info(path).frames) == ("tisdiss: a 1; b ä", 8000)
    path.write_bytes(b"no audio")
    assert read_comment(path) == ""


def test_skipped_files_tell_what_made_them(model, espnet_model, tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.randn(800, 2), RATE)
    done = {"n_re": (1, 2), "channel": "each", "chunk_seconds": 4.0}

    def notices(model: SeparateSpeech, **options) -> list[str]:
        files = model.files([tmp_path / "a.wav"], tmp_path, existing="skip", **options)
        (result,) = files
        assert result.status == "skipped"
        return result.notices

    (result,) = model.files([tmp_path / "a.wav"], tmp_path, **done)
    assert result.status == "done" and len(result.outputs) == 8
    assert notices(model, **done) == []
    assert notices(model, **done | {"batch_size": 4}) == []  # changes nothing
    again = "; --overwrite makes it again"
    found = notices(model, **done | {"scale": "peak", "shifts": 2})
    assert found == [f"made with scale level, not peak, with shifts 1, not 2{again}"]
    one = done | {"n_re": 1, "pattern": "{name}_ch{channel}_re2_spk{speaker}"}
    assert notices(model, **one) == [f"made with N_re 2, not 1{again}"]
    one |= {"n_re": 2, "rtf": 0.5}
    assert notices(model, **one) == [f"made without RTF 0.5{again}"]
    _, config, weights = espnet_model()
    state = torch.load(weights)
    assert SeparateSpeech(config, weights).fingerprint != model.fingerprint  # new weights
    torch.save(model.enh_model.state_dict(), weights)
    assert SeparateSpeech(config, weights).fingerprint == model.fingerprint
    torch.save(state, weights)
    assert notices(SeparateSpeech(config, weights), **done) == [f"made with another model{again}"]
    soundfile.write(result.outputs[-1], np.zeros(800), RATE)
    (unknown,) = notices(model, **done)
    assert unknown.startswith("made with a model and options that it does not state")
