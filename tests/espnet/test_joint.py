"""Separation and recognition in one model: training with a loss at every depth, and recognition."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
import yaml
from espnet2.bin.asr_inference import Speech2Text
from espnet2.enh.espnet_model import ESPnetEnhancementModel
from espnet2.tasks.enh_s2t import EnhS2TTask
from joint_model import RATE, joint_config, write_joint_model

from espnet2_tisdiss.bin import asr_inference, enh_s2t_train
from espnet2_tisdiss.errors import OptionError
from espnet2_tisdiss.espnet.joint import JointEnhancementModel, JointTask

N_SAMPLES = 4000


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_joint_model(tmp_path_factory.mktemp("joint"), JointTask)


@pytest.fixture
def model(files):
    return JointTask.build_model_from_file(*files, "cpu")[0]


@pytest.fixture
def batch():
    references = torch.randn(2, 2, N_SAMPLES)
    return {
        "speech": references.sum(1),
        "speech_lengths": torch.tensor([N_SAMPLES, N_SAMPLES - 1000]),
        "speech_ref1": references[:, 0],
        "speech_ref2": references[:, 1],
        "text_spk1": torch.tensor([[3, 4, 5], [4, 4, -1]]),
        "text_spk1_lengths": torch.tensor([3, 2]),
        "text_spk2": torch.tensor([[5, 3], [3, 5]]),
        "text_spk2_lengths": torch.tensor([2, 2]),
        "utt_id": ["one", "two"],
    }


def without_dropout(model):
    """Make training repeatable: only the separator tells training from evaluation."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.train()


def test_a_step_trains_separator_and_recogniser(model, batch):
    loss, stats, weight = model.train()(**batch)
    loss.backward()
    assert isinstance(model.enh_model, JointEnhancementModel)
    assert loss.isfinite() and weight == 2
    without = [name for name, value in model.named_parameters() if value.grad is None]
    assert without == []
    assert all(float(stats[name]) != 0 for name in ("loss_enh", "loss_asr"))


def test_the_loss_is_that_of_all_depths_and_of_the_speakers_in_order(model, batch):
    model = without_dropout(model)
    loss, _, _ = model(**batch)
    lengths, references = batch["speech_lengths"], [batch["speech_ref1"], batch["speech_ref2"]]
    waves, _, _, _ = ESPnetEnhancementModel.forward_enhance(
        model.enh_model, batch["speech"], lengths
    )
    assert len(waves) == 3 * 2  # the splitter's output and two repetitions
    separation, _, found = model.enh_model.loss_wrappers[0](references, waves)
    last = torch.stack(waves[-2:], dim=1).detach()
    # the order in which each item's last estimates are nearer to its references
    order = found["perm"]
    for item in range(2):
        criterion = model.enh_model.loss_wrappers[0].criterion
        scores = [
            sum(float(criterion(r[None, item], last[None, item, e])) for r, e in pairs)
            for pairs in (
                zip(references, (0, 1), strict=True),
                zip(references, (1, 0), strict=True),
            )
        ]
        assert order[item].tolist() == [[0, 1], [1, 0]][int(np.argmin(scores))]
    speakers = [last[torch.arange(2), order[:, speaker]] for speaker in (0, 1)]
    second = torch.nn.functional.pad(batch["text_spk2"], (0, 1), value=-1)
    recognition, _, _ = model.s2t_model(
        torch.cat(speakers),
        lengths.repeat(2),
        torch.cat([batch["text_spk1"], second]),
        torch.cat([batch["text_spk1_lengths"], batch["text_spk2_lengths"]]),
    )
    torch.testing.assert_close(loss, separation + recognition, rtol=1e-5, atol=1e-5)


def test_evaluation_is_that_of_espnets_model(files, model, batch):
    stock, _ = EnhS2TTask.build_model_from_file(*files, "cpu")
    assert type(stock.enh_model) is ESPnetEnhancementModel
    with torch.no_grad():
        expected, stats, _ = stock.eval()(**batch)
        found, ours, _ = model.eval()(**batch)
    assert torch.equal(found, expected)
    # with the error rates, which need editdistance
    assert ours["cer"] == stats["cer"] and ours["wer"] == stats["wer"] is not None
    model.enh_model.separator.every_depth = True
    with torch.no_grad():
        every, ours, _ = model(**batch)
    assert ours["loss_asr"] == stats["loss_asr"] and every != expected


def test_another_separator_is_left_as_it_is(tmp_path):
    other = {
        "enh_separator": "rnn",
        "enh_separator_conf": {"num_spk": 2, "layer": 1, "unit": 4},
        "enh_criterions": [{"name": "si_snr", "conf": {}, "wrapper": "pit", "wrapper_conf": {}}],
    }
    config, weights = write_joint_model(tmp_path, JointTask, **other)
    model, _ = JointTask.build_model_from_file(config, weights, "cpu")
    assert type(model.enh_model) is ESPnetEnhancementModel


@pytest.mark.parametrize("wrapper", ["pit", "fixed_order", "multilayer_pit"])
def test_a_loss_of_one_depth_is_refused(tmp_path, wrapper):
    criterion = {"name": "si_snr", "conf": {}, "wrapper": wrapper, "wrapper_conf": {}}
    with pytest.raises(OptionError, match="trained at 3: write 'wrapper: multi_depth_pit'"):
        write_joint_model(tmp_path, JointTask, enh_criterions=[criterion])


def test_a_normalisation_that_would_have_no_effect_is_refused(tmp_path):
    with pytest.raises(OptionError, match="normalize_variance has no effect in a joint model"):
        write_joint_model(tmp_path, JointTask, enh_model_conf={"normalize_variance": True})


# --- recognition ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixtures")
    rng = np.random.default_rng(0)
    lines = []
    for name, length in (("one", 4000), ("two", 3000), ("short", 200)):
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(length), RATE)
        lines.append(f"{name} {folder / name}.wav\n")
    (folder / "wav.scp").write_text("".join(lines))
    return folder / "wav.scp"


def recognise(files, mixtures, folder, *options):
    config, weights = files
    asr_inference.main(
        ["--asr_train_config", str(config), "--asr_model_file", str(weights)]
        + ["--data_path_and_name_and_type", f"{mixtures},speech,sound"]
        + ["--output_dir", str(folder), "--beam_size", "2", "--maxlenratio", "-4"]
        + ["--num_workers", "0", *options]
    )


def written(folder):
    return {p.relative_to(folder): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_stock_class_loads_the_model(files):
    recogniser = Speech2Text(*files, enh_s2t_task=True, beam_size=2, maxlenratio=-4)
    speakers = recogniser(np.random.randn(4000).astype(np.float32))
    assert len(speakers) == 2 and len(speakers[0][0][1]) == 4


def test_each_depth_is_recognised_as_espnet_does(files, mixtures, tmp_path, monkeypatch):
    from espnet2_tisdiss import TISDiSSSeparator

    runs = []
    anytime = TISDiSSSeparator.anytime
    monkeypatch.setattr(
        TISDiSSSeparator, "anytime", lambda *args: runs.append(args) or anytime(*args)
    )
    recognise(files, mixtures, tmp_path / "ours", "--n_re", "3", "1")
    assert sorted(p.name for p in (tmp_path / "ours").iterdir()) == ["re1", "re3"]
    assert len(runs) == 3  # each mixture is separated once
    config = yaml.safe_load(files[0].read_text())
    for depth in (1, 3):
        config["enh_separator_conf"]["reconstructor_repeat_times"] = depth
        at_depth = tmp_path / f"{depth}.yaml"
        at_depth.write_text(yaml.safe_dump(config))
        # the stock command, run by ours
        recognise((at_depth, files[1]), mixtures, tmp_path / "stock", "--enh_s2t_task", "true")
        expected = written(tmp_path / "stock")
        found = written(tmp_path / "ours" / f"re{depth}")
        assert found.keys() == expected.keys()
        for path in found:
            if "score" not in path.name:
                assert found[path] == expected[path]
        assert found[next(p for p in found if p.name == "text_spk2")].count("\n") == 3
    shallow, deep = (written(tmp_path / "ours" / f"re{depth}") for depth in (1, 3))
    assert shallow != deep


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--n_re", "0"], "asr_inference: --n_re must be an integer from 1 to 1000; got 0"),
        (["--n_re", "1", "--multi_asr", "true"], "--multi_asr cannot be combined with --n_re"),
        (
            ["--n_re", "1", "--batch_size", "2"],
            "--batch_size 2: ESPnet takes one mixture at a time",
        ),
        (["--n_re", "1", "--ngpu", "2"], "--ngpu 2: a process uses one GPU at most"),
        (["--n_re", "1", "--asr_model_file", "no.pth"], "no.pth: no such file"),
    ],
)
def test_wrong_options_are_one_line(files, mixtures, tmp_path, options, told):
    with pytest.raises(SystemExit, match=told) as error:
        recognise(files, mixtures, tmp_path / "out", *options)
    assert "\n" not in str(error.value)


def test_a_separation_model_has_nothing_to_recognise(espnet_model, mixtures, tmp_path):
    _, config, weights = espnet_model()
    with pytest.raises(SystemExit, match="config.yaml: --n_re needs a joint model"):
        recognise((config, weights), mixtures, tmp_path / "out", "--n_re", "1")


# --- the training command -------------------------------------------------------------------------


def test_a_training_writes_a_model_that_can_be_recognised_with(tmp_path, mixtures, monkeypatch):
    monkeypatch.setattr("espnet2_tisdiss.espnet.training.keep_freed_memory", lambda: None)
    (tmp_path / "text").write_text("one ab\ntwo c\n")
    (tmp_path / "shape").write_text("one 4000\ntwo 3000\n")
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            joint_config(
                batch_type="unsorted",
                batch_size=2,
                num_workers=0,
                num_att_plot=0,
                max_epoch=2,
                optim="sgd",
                optim_conf={"lr": 1e-3},
                use_matplotlib=False,
                use_tensorboard=False,
            )
        )
    )
    data = [(mixtures, name, "sound") for name in ("speech", "speech_ref1", "speech_ref2")]
    data += [(tmp_path / "text", name, "text") for name in ("text_spk1", "text_spk2")]
    command = ["--config", str(tmp_path / "config.yaml"), "--output_dir", str(tmp_path / "exp")]
    for part in ("train", "valid"):
        command += [f"--{part}_shape_file", str(tmp_path / "shape")]
        for path, name, kind in data:
            command += [f"--{part}_data_path_and_name_and_type", f"{path},{name},{kind}"]
    command += ["--depth_schedule", "1=1", "--depth_schedule", "2=2"]
    enh_s2t_train.main([*command, "--valid_every_depth", "true"])
    states = torch.load(tmp_path / "exp/checkpoint.pth", weights_only=True)
    stats = states["reporter"]["stats"][2]
    assert stats["train"]["loss"] == pytest.approx(
        stats["train"]["loss_enh"] + stats["train"]["loss_asr"], rel=1e-4
    )
    assert (tmp_path / "exp/checkpoint.pth.kept").is_file()
    recogniser = Speech2Text(
        tmp_path / "exp/config.yaml",
        tmp_path / "exp/2epoch.pth",
        enh_s2t_task=True,
        beam_size=2,
        maxlenratio=-2,
    )
    assert len(recogniser(np.random.randn(4000).astype(np.float32))) == 2


# --- registration ---------------------------------------------------------------------------------


def test_the_joint_task_knows_the_separator_if_it_was_imported_first():
    program = (
        "from espnet2.tasks.enh_s2t import enh_separator_choices as choices; "
        "print('tisdiss' in choices.classes); import espnet2_tisdiss; "
        "print(choices.get_class('tisdiss').__name__)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "False\nTISDiSSSeparator\n", run.stderr
