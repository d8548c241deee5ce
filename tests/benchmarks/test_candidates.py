"""The comparison of candidates for the package's model: what is trained, and the table."""

from pathlib import Path

import candidates
import pytest
import torch
import yaml
from candidates import CANDIDATES
from espnet2.train.reporter import Reporter

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.cost import parameters
from espnet2_tisdiss.recipes.stages.check_training import build, training_options


@pytest.fixture
def runs(tmp_path: Path, monkeypatch) -> list[list[str]]:
    """The commands that would train the candidates."""
    called: list[list[str]] = []
    monkeypatch.setattr(candidates, "EXP", tmp_path)
    monkeypatch.setattr(candidates, "run_recipe", lambda command, _: called.append(list(command)))
    return called


@pytest.mark.parametrize("name", CANDIDATES)
def test_each_candidate_can_be_trained(name, runs, tmp_path):
    candidates.train(name, ["./run.sh", "--voices", "DIR"], 600)
    (words,) = runs
    given = dict(zip(words[1::2], words[2::2], strict=True))
    assert (given["--voices"], given["--stage"], given["--stop_stage"]) == ("DIR", "6", "6")
    options = training_options(Path(given["--enh_config"]), given["--enh_args"].split())
    assert options.max_epoch * options.num_iters_per_epoch == 600
    model = build(options)
    if not CANDIDATES[name].grown:
        assert "--init_param" not in given
        return
    start = torch.load(given["--init_param"], weights_only=True)
    assert model.load_state_dict(start, strict=False).unexpected_keys == []
    assert len(start) == len(model.separator.state_dict())


def plant(folder: Path, name: str, by_depth: list[float]) -> None:
    """Write what a finished training leaves: its configuration, and SI-SNR from N_re 1 on."""
    reporter = Reporter()
    for epoch in (1, 2):  # the last one counts
        reporter.set_epoch(epoch)
        with reporter.observe("train") as observed:
            observed.register({"train_time": 2.0 * epoch})
            observed.next()
        with reporter.observe("valid") as observed:
            losses = {f"si_snr_loss_depth-{n}": -v * epoch for n, v in enumerate(by_depth)}
            observed.register(losses)
            observed.next()
    (folder / name).mkdir()
    (folder / name / "config.yaml").write_text(yaml.safe_dump(CANDIDATES[name].config()))
    torch.save({"reporter": reporter.state_dict()}, folder / name / "checkpoint.pth")


def test_the_table_has_size_cost_and_quality(runs, tmp_path):
    plant(tmp_path, "package", [1.0, 2.0, 3.0])
    plant(tmp_path, "splitter_loss", [0.0, 1.5, 2.5, 3.5])
    plant(tmp_path, "channels32", [0.5, 0.75, 1.0])
    lines = candidates.report(list(CANDIDATES)[:1] + ["splitter_loss", "channels32"]).splitlines()
    header, _, *rows = [line[2:-2].split(" | ") for line in lines if line.startswith("|")]
    assert header[2:] == ["M parameters", "GMAC/s", "s a step", "N_re 1", "N_re 2", "N_re 3"]
    found = {row[0]: row[2:] for row in rows}
    assert found["package"] == ["1.13", "3.69", "4.00", "2.00", "4.00", "6.00"]
    assert found["splitter_loss"][3:] == ["3.00", "5.00", "7.00"]
    assert float(found["channels32"][0]) < 0.6 and float(found["channels32"][1]) < 2
    model = build(training_options(tmp_path / "channels32/config.yaml", []))
    assert f"{parameters(model.separator) / 1e6:.2f}" == found["channels32"][0]


def test_a_candidate_that_was_not_trained_is_named(runs, tmp_path):
    with pytest.raises(TisdissError, match="package/checkpoint.pth: no such file: train first"):
        candidates.report(["package"])
