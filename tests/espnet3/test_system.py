"""The system for ESPnet3, with its own classes: data, separation, scores, training and packing."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile
import yaml
from espnet3.contract.inference import load_inference_contract
from espnet3.systems.base.inference_runner import InferenceRunner
from espnet3.systems.base.metric import measure
from espnet3.utils.config_utils import load_and_merge_config
from tiny_model import STFT, TINY

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.espnet3.__main__ import main
from espnet2_tisdiss.espnet3.app import build
from espnet2_tisdiss.espnet3.configurations import add_inputs, add_outputs
from espnet2_tisdiss.espnet3.dataset import Dataset
from espnet2_tisdiss.espnet3.inference import DepthModel
from espnet2_tisdiss.espnet3.metrics import SISNRi
from espnet2_tisdiss.evaluate.by_depth import score_mixtures
from espnet2_tisdiss.evaluate.mixtures import find_mixtures

RATE = 8000


def write_data(folder, count=2, seconds=0.5):
    """A data directory of mixtures of two noises."""
    rng = np.random.default_rng(count)
    folder.mkdir(parents=True)
    lists = {"wav": "", "spk1": "", "spk2": ""}
    for number in range(count):
        sources = 0.1 * rng.standard_normal((2, round(seconds * RATE)))
        for name, wave in zip(lists, (sources.sum(0), *sources), strict=True):
            path = folder / f"mix.{number}_{name}.wav"
            soundfile.write(path, wave, RATE, subtype="FLOAT")
            lists[name] += f"mix.{number} {path}\n"
    for name, text in lists.items():
        (folder / f"{name}.scp").write_text(text)


def configuration(role, folder, **values):
    """The package's configuration of a role with the user's values, as ESPnet3 loads it."""
    path = folder / f"{role}.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_and_merge_config(path, f"{role}.yaml", "espnet2_tisdiss.espnet3")


def scores(model, data, depths):
    """The package's own result: the mean SI-SNRi by depth."""
    results = list(score_mixtures(model, find_mixtures(data, 2), depths, keep_rumble=True))
    return np.mean([[score.si_snri for score in one.scores] for one in results], axis=0)


def test_separates_and_scores_as_the_package_does(tmp_path, espnet_model):
    _, config_file, model_file = espnet_model()
    write_data(tmp_path / "test")
    inference = configuration(
        "inference",
        tmp_path,
        n_re=[1, 3],
        test_data=str(tmp_path / "test"),
        inference_dir=str(tmp_path / "inference"),
        exp_dir=str(tmp_path),
        model={"train_config": str(config_file), "model_file": str(model_file)},
    )
    metrics = configuration(
        "metrics", tmp_path, exp_dir=str(tmp_path), inference_dir=str(tmp_path / "inference")
    )
    add_outputs(inference)
    add_inputs(metrics, inference)
    model = DepthModel(str(config_file), str(model_file), [1, 3])
    contract = load_inference_contract(inference.contract)
    data = Dataset(tmp_path / "test", 2, RATE, named=True)
    writers = InferenceRunner.open_writers(tmp_path / "inference/test", inference.output_artifacts)
    (tmp_path / "inference/test").mkdir(parents=True)
    results = InferenceRunner.forward(
        [0, 1], dataset=data, model=model, input_key="speech_mix", inference_contract=contract
    )
    InferenceRunner.write_record(writers, results, {})
    InferenceRunner.close_writers(writers, {})

    package = SeparateSpeech(config_file, model_file)
    mixtures = [soundfile.read(tmp_path / f"test/mix.{n}_wav.wav")[0] for n in range(2)]
    expected = package.depths(mixtures, [3], "peak")[3][1]
    found, rate = soundfile.read(tmp_path / "inference/test/re3_spk2/mix.1.wav")
    assert rate == RATE
    np.testing.assert_allclose(found, expected[1], atol=1e-6)
    (result,) = measure(metrics, inference).values()
    means = [result["test"][f"si_snri_re{n_re}"] for n_re in (1, 3)]
    np.testing.assert_allclose(means, scores(package, tmp_path / "test", [1, 3]), atol=0.0051)


def test_a_batch_and_a_recording_of_another_rate_and_two_channels(espnet_model):
    _, config_file, model_file = espnet_model()
    model = DepthModel(str(config_file), str(model_file), [2])
    samples = np.random.default_rng(0).uniform(-1, 1, 4000).astype(np.float32)
    stereo = np.stack([samples, samples], axis=1)
    config = {
        "inputs": {"speech_mix": {"kind": "audio", "normalize": ["mean_channels"]}},
        "outputs": {"re2_spk1": {"kind": "audio"}, "re2_spk2": {"kind": "audio"}},
    }
    found = InferenceRunner.forward(
        [0, 1],
        dataset=[{"speech_mix": (2 * RATE, stereo)}, {"speech_mix": samples}],
        model=model,
        input_key="speech_mix",
        inference_contract=load_inference_contract(config),
    )
    assert [one["re2_spk1"].array.shape for one in found] == [(2000,), (4000,)]
    assert {one["re2_spk1"].rate for one in found} == {RATE}


def test_a_perfect_estimate_and_the_mixture_itself_have_known_scores():
    rng = np.random.default_rng(0)
    sources = rng.standard_normal((2, RATE)).astype(np.float32)
    mixture = sources.sum(0)
    metric = SISNRi([1, 2], 2)
    values = {"speech_mix": mixture, "speech_ref1": sources[0], "speech_ref2": sources[1]}
    values |= {"re1_spk1": mixture, "re1_spk2": mixture}
    close = sources + 0.01 * rng.standard_normal((2, RATE)).astype(np.float32)
    values |= {"re2_spk1": close[1], "re2_spk2": close[0]}  # in the other order
    metric.update(**{name: [(RATE, wave)] for name, wave in values.items()})
    found = metric.compute()
    assert found["si_snri_re1"] == pytest.approx(0, abs=0.01)
    assert found["si_snri_re2"] == pytest.approx(40, abs=0.5)


def test_users_mistakes_are_named(tmp_path):
    with pytest.raises(TisdissError, match="no such folder"):
        Dataset(tmp_path / "missing", 2, RATE)
    write_data(tmp_path / "test", count=1)
    with pytest.raises(TisdissError, match="16000"):
        Dataset(tmp_path / "test", 2, 16000)[0]
    signals = {name: [(RATE, np.zeros(5))] for name in ("speech_mix", "speech_ref1", "speech_ref2")}
    estimates = {name: [(RATE, np.zeros(4))] for name in ("re1_spk1", "re1_spk2")}
    with pytest.raises(TisdissError, match="sample_rate"):
        SISNRi([1], 2).update(**signals, **estimates)


@pytest.mark.skipif(find_spec("lightning") is not None, reason="Lightning is installed")
def test_what_is_missing_is_named():
    with pytest.raises(SystemExit, match=r"^espnet3: Lightning is not installed: pip install "):
        main(["--help"])


def test_stages_and_their_configurations():
    pytest.importorskip("lightning")
    from espnet3.contract.stages import roles, stage_names, stage_spec

    from espnet2_tisdiss.espnet3.system import EnhancementSystem

    assert stage_names(EnhancementSystem) == [
        *("collect_stats", "train", "infer", "measure"),
        *("pack_model", "upload_model", "pack_demo", "upload_demo"),
    ]
    assert roles(EnhancementSystem) == ("training", "inference", "metrics", "publication", "demo")
    assert "inference" in stage_spec(EnhancementSystem, "measure").config


def write_configurations(folder):
    """A user's files: a tiny model, a few steps, and other options that are not the defaults."""
    model = {"encoder_conf": STFT, "decoder_conf": STFT, "separator_conf": TINY}
    here = {"iter_factory": {"num_workers": 0}}
    values = {
        "training": {
            "exp_tag": "tiny",
            "model": model,
            "dataset": {"preprocessor": {"speech_segment": RATE}},
            "dataloader": {"train": here, "valid": here},
            "trainer": {"max_epochs": 4, "accelerator": "cpu", "logger": None},
        },
        "inference": {"n_re": [1, 3]},
        "metrics": {},
        "publication": {},
        "demo": {},
    }
    (folder / "conf").mkdir()
    for role, options in values.items():
        (folder / f"conf/{role}.yaml").write_text(yaml.safe_dump(options))
    return [f"--{role}_config=conf/{role}.yaml" for role in values]


@pytest.mark.slow
def test_trains_separates_scores_and_packs(tmp_path, monkeypatch):
    pytest.importorskip("lightning")
    pytest.importorskip("dask_jobqueue")
    from espnet3.publication import InferenceModel

    monkeypatch.chdir(tmp_path)
    for name in ("train", "valid", "test"):
        write_data(tmp_path / f"data/{name}", seconds=1.5)
    options = write_configurations(tmp_path)
    stages = ["collect_stats", "train", "infer", "measure", "pack_model", "pack_demo"]
    main(["--stages", *stages, *options])

    exp = tmp_path / "exp/tiny"
    packed = exp / "model_pack"
    model = SeparateSpeech.from_pretrained(packed)  # as ESPnet2 packs models, too
    result = json.loads((packed / "metrics.json").read_text())
    found = result["espnet2_tisdiss.espnet3.metrics.SISNRi"]["test"]
    assert list(found) == ["si_snri_re1", "si_snri_re3"]
    np.testing.assert_allclose(
        list(found.values()), scores(model, "data/test", [1, 3]), atol=0.0051
    )
    assert f"{found['si_snri_re3']}" in (packed / "README.md").read_text()
    assert not list(packed.rglob("*.ckpt"))

    mixture, _ = soundfile.read("data/test/mix.0_wav.wav", dtype="float32")
    espnets = InferenceModel.from_packed(packed, trust_user_code=True)
    estimates = espnets("data/test/mix.0_wav.wav")
    expected = model.depths([mixture], [3], "peak")[3][0]
    np.testing.assert_allclose(estimates["re3_spk1"].array, expected[0], atol=1e-6)
    assert (exp / "demo/model_pack").resolve() == packed
    assert (exp / "demo/app.py").is_file()
    if find_spec("gradio") is not None:  # of requirements-pages.txt
        blocks = build(exp / "demo").blocks.values()
        labels = [block.label for block in blocks if type(block).__name__ == "Audio"]
        assert labels[:2] == ["Mixture", "N_re 1, speaker 1"] and len(labels) == 5

    (tmp_path / "conf/training.yaml").write_text("train_data: data/other")
    with pytest.raises(SystemExit, match=r"^espnet3: data/other: no such folder"):
        main(["--stages", "train", options[0]])
