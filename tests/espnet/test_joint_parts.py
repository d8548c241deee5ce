"""A joint model made from a separator and a recogniser that were trained separately."""

import numpy as np
import pytest
import torch
import yaml
from espnet2.bin.asr_inference import Speech2Text
from espnet2.tasks.asr import ASRTask
from espnet2.tasks.enh import EnhancementTask
from joint_model import joint_config

from espnet2_tisdiss.errors import OptionError
from espnet2_tisdiss.espnet.joint_parts import joint_config as joined
from espnet2_tisdiss.espnet.joint_parts import write_cascade

COMMON = ("frontend", "normalize", "token", "frontend_conf")


def write_part(folder, task, **options):
    """Write the configuration and the weights of a new model of a task, as training does."""
    folder.mkdir()
    config = {**task.get_default_config(), **options}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(1)
    model, _ = task.build_model_from_file(folder / "config.yaml", None, "cpu")
    torch.save(model.state_dict(), folder / "model.pth")
    return folder / "config.yaml", folder / "model.pth"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A separator and a recogniser, each as configuration and weights."""
    folder = tmp_path_factory.mktemp("parts")
    config = joint_config()
    separation = {
        name.removeprefix("enh_"): value
        for name, value in config.items()
        if name.startswith("enh_")
    }
    separation["model_conf"] = {"normalize_variance": True, "loss_type": "mask_mse"}
    recognition = {
        name.removeprefix("asr_"): value
        for name, value in config.items()
        if name.startswith("asr_") or name.startswith(COMMON)
    }
    return (
        write_part(folder / "separation", EnhancementTask, **separation, init="xavier_uniform"),
        write_part(folder / "recognition", ASRTask, **recognition, init="xavier_uniform"),
    )


def test_the_cascade_is_separator_and_recogniser(parts, tmp_path):
    files = tmp_path / "cascade/config.yaml", tmp_path / "cascade/model.pth"
    write_cascade(*parts, *files)
    cascade = Speech2Text(*files, enh_s2t_task=True, beam_size=2, maxlenratio=-4)
    separator, _ = EnhancementTask.build_model_from_file(*parts[0], "cpu")
    recogniser = Speech2Text(*parts[1], beam_size=2, maxlenratio=-4)
    speech = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    mixture, lengths = torch.from_numpy(speech)[None], torch.tensor([4000])
    with torch.no_grad():
        features, frames = separator.encoder(mixture, lengths)
        spectra, _, _ = separator.eval().separator(features, frames)
        waves = [separator.decoder(spectrum, lengths)[0][0] for spectrum in spectra]
    for found, wave in zip(cascade(speech), waves, strict=True):
        assert found[0][1] == recogniser(wave.numpy())[0][1]


def test_a_normalisation_is_left_out(parts):
    separation, recognition = (yaml.safe_load(config.read_text()) for config, _ in parts)
    assert separation["model_conf"]["normalize_variance"]
    assert joined(separation, recognition)["enh_model_conf"] == {"loss_type": "mask_mse"}


@pytest.mark.parametrize("rate", [16000, "16k"])
def test_parts_of_two_rates_are_refused(parts, rate):
    separation, recognition = (yaml.safe_load(config.read_text()) for config, _ in parts)
    recognition["frontend_conf"] = {"fs": rate}
    with pytest.raises(OptionError, match="at 8000 Hz and the recogniser at 16000 Hz"):
        joined(separation, recognition)
