"""Quality against computing time: the trainings, the low bands, and the front."""

from pathlib import Path

import pareto
import pytest
import torch
import yaml
from espnet2.enh.separator.dprnn_separator import DPRNNSeparator
from espnet2.train.reporter import Reporter
from pareto import Point

from espnet2_tisdiss.network.separator import TISDiSSSeparator
from espnet2_tisdiss.recipes.stages.check_training import build, training_options


def leave_training(folder: Path, steps: list[int]) -> None:
    """Write the checkpoint of a training whose epochs have these steps, half a second each."""
    reporter = Reporter()
    for epoch, number in enumerate(steps, start=1):
        reporter.set_epoch(epoch)
        with reporter.observe("train") as observed:
            for _ in range(number):
                observed.register({"train_time": 0.5})
                observed.next()
    folder.mkdir()
    torch.save({"reporter": reporter.state_dict()}, folder / "checkpoint.pth")


@pytest.mark.parametrize("name", pareto.TRAINED)
def test_every_separator_trains_for_the_same_time(name, tmp_path, monkeypatch):
    called: list[dict[str, str]] = []

    def run(command: list[str], _: str) -> None:
        if "--enh_exp" not in command:
            return
        given = dict(zip(command[3::2], command[4::2], strict=True))
        called.append(given)
        leave_training(Path(given["--enh_exp"]), [1])

    monkeypatch.setattr(pareto, "EXP", tmp_path)
    monkeypatch.setattr(pareto, "run_recipe", run)
    pareto.main(["train", "--only", name, "--minutes", "5", "--voices", "DIR"])
    trial, training = called
    assert training["--voices"] == "DIR"
    options = training_options(Path(training["--enh_config"]), training["--enh_args"].split())
    assert options.max_epoch * options.num_iters_per_epoch == 600
    options = training_options(Path(trial["--enh_config"]), trial["--enh_args"].split())
    assert options.max_epoch * options.num_iters_per_epoch == pareto.TRIAL_STEPS
    model = build(options).train()
    sound = torch.randn(2, 8000)
    loss, *_ = model(sound[:1] + sound[1:], speech_ref1=sound[:1], speech_ref2=sound[1:])
    assert torch.isfinite(loss)


def separator() -> TISDiSSSeparator:
    torch.manual_seed(0)
    options = {"emb_dim": 8, "num_groups": 2, "n_heads": 1, "attention_dim": 8}
    options |= {"ffn_hidden_dim": [8, 8], "band_split": "mel", "num_bands": 8, "mask": True}
    return TISDiSSSeparator(65, sample_rate=8000, **options).eval()


def test_low_bands_leave_the_others_to_all_speakers():
    mixture = torch.randn(1, 20, 65, dtype=torch.complex64)
    full = separator()
    pruned = separator()
    pareto.keep_low_bands(pruned, 5)
    with torch.inference_mode():
        first, second = pruned(mixture, None)[0]
        unpruned = separator()
        pareto.keep_low_bands(unpruned, 8)
        for found, expected in zip(unpruned(mixture, None)[0], full(mixture, None)[0], strict=True):
            torch.testing.assert_close(found, expected)
    torch.testing.assert_close(first[..., -1], mixture[..., -1] / 2)
    torch.testing.assert_close(first[..., -1], second[..., -1])
    assert not torch.allclose(first[..., 1], mixture[..., 1] / 2)


def test_the_front_has_what_no_cheaper_setting_surpasses():
    points = {
        "cheap": Point(0.1, 5.0),
        "worse": Point(0.2, 4.0),
        "better": Point(0.2, 6.0),
        "same": Point(0.3, 6.0),
        "best": Point(0.9, 6.5),
    }
    assert pareto.pareto_front(points) == ["cheap", "better", "best"]


def test_the_table_and_the_picture_have_every_way(tmp_path):
    points = {
        ("float32", "N_re 1"): Point(0.1, 5.0),
        ("float32", "N_re 2"): Point(0.2, 6.0),
        ("float32, --stop-db -6", ""): Point(0.15, 4.5),
        ("float32, --stop-db -8", ""): Point(0.3, 6.25),
        ("DPRNN", ""): Point(0.4, 3.0),
    }
    front = pareto.pareto_front(points)
    text = pareto.report(points, front, 3)
    rows = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("|")][2:]
    assert rows[0] == ["float32 N_re 1", "**0.100**", "**5.00**"]
    assert rows[2] == ["float32, --stop-db -6", "0.150", "4.50"]
    assert rows[4] == ["DPRNN", "0.400", "3.00"]
    assert pareto.draw(points, front).startswith(b"\x89PNG")


def test_the_report_says_how_long_a_separator_was_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(pareto, "EXP", tmp_path)
    assert pareto.trainings() == ""
    leave_training(tmp_path / "DPRNN", [150, 90])
    options = pareto.config_of("DPRNN")
    (tmp_path / "DPRNN.yaml").write_text(yaml.safe_dump(options))
    assert pareto.trainings() == ""  # not finished
    (tmp_path / "DPRNN" / pareto.WEIGHTS).touch()
    row = pareto.trainings().splitlines()[-1].split("|")
    separator = DPRNNSeparator(options["encoder_conf"]["channel"], **options["separator_conf"])
    parameters = sum(each.numel() for each in separator.parameters())
    coders = 2 * options["encoder_conf"]["channel"] * options["encoder_conf"]["kernel_size"]
    assert row[1].strip() == "DPRNN" and row[3:5] == [" 240 ", " 2 "]
    assert float(row[2]) == pytest.approx((parameters + coders) / 1e6, abs=0.01)
