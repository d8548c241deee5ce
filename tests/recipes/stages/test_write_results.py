"""Planted scores give the expected tables."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from matplotlib import image
from recipe_folder import TINY_CONFIG, plant_scores

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate import cost
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.recipes.stages import write_results
from espnet2_tisdiss.recipes.stages.join_scores import join_scores, read_scores
from espnet2_tisdiss.recipes.stages.model_cost import build_model, cost_by_depth
from espnet2_tisdiss.recipes.stages.result_tables import (
    best_published,
    depth_table,
    depth_tables,
    file_table,
    pair_table,
)
from espnet2_tisdiss.recipes.stages.set_results import read_set


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A tiny model's experiment with a mixture and two depths, of two utterances each."""
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "config.yaml").write_text(TINY_CONFIG)
    plant_scores(
        tmp_path / "dump" / "mixture_scoring",
        {
            "SI_SNR": {"a": (1.0, -1.0), "b": (2.0, 0.0)},
            "SDR": {"a": (0.5, 0.5), "b": (0.5, 0.5)},
            "SAR": {"a": (250.0, 250.0), "b": (250.0, 250.0)},
        },
    )
    depths = {
        1: {
            "SI_SNR": {"a": (4.0, 6.0), "b": (7.0, 9.0)},
            "SDR": {"a": (6.0, 6.0), "b": (9.0, 9.0)},
        },
        10: {
            "SI_SNR": {"a": (10.0, 10.0), "b": (9.0, 12.0)},
            "STOI": {"a": (90.0, 92.0), "b": (94.0, 96.0)},
        },
    }
    for n_re, scores in depths.items():
        plant_scores(tmp_path / "exp" / f"enhanced_re{n_re}_test" / "scoring", scores)
    return tmp_path / "exp"


def folders(experiment: Path) -> tuple[Path, list[tuple[str, Path]]]:
    depths = [(str(n_re), experiment / f"enhanced_re{n_re}_test") for n_re in (1, 10)]
    return experiment.parent / "dump" / "mixture_scoring", depths


def test_the_table_by_depth(experiment: Path) -> None:
    mixture, depths = folders(experiment)
    results = read_set("test", mixture, depths)
    metrics = ["STOI", "SAR", "SDR", "SIR", "SI_SNR"]
    # SI-SNR means: mixture (0 + 1) / 2, depth 1 (5 + 8) / 2, depth 10 (10 + 10.5) / 2.
    assert depth_table(results, metrics, {"1": 0.5, "10": 123.456}) == (
        "|N_re|STOI|SAR|SDR|SIR|SI_SNR|SDRi|SI_SNRi|worse|GMAC/s|\n"
        "|---|---|---|---|---|---|---|---|---|---|\n"
        "|mixture|0.00|inf|0.50|0.00|0.50|||||\n"
        "|1|0.00|0.00|7.50|0.00|6.50|7.00|6.00|0%|0.50|\n"
        "|10|93.00|0.00|0.00|0.00|10.25|-0.50|9.75|0%|123.46|\n"
    )
    assert depth_table(results, ["SI_SNR"], {}).startswith(
        "|N_re|SI_SNR|SDRi|SI_SNRi|worse|\n|---|---|---|---|---|\n"
        "|mixture|0.50||||\n|1|6.50|7.00|6.00|0%|\n"
    )


def test_the_table_by_sex_and_the_share_made_worse(tmp_path: Path) -> None:
    keys = ("FF_1", "FF_2", "FM_3", "other")
    plant_scores(tmp_path / "mixture", {"SI_SNR": dict.fromkeys(keys, (0.0, 0.0))})
    gains = dict(zip(keys, [(-2.0, -4.0), (4.0, 4.0), (6.0, 6.0), (9.0, 9.0)], strict=True))
    plant_scores(tmp_path / "re2" / "scoring", {"SI_SNR": gains})
    results = read_set("test", tmp_path / "mixture", [("2", tmp_path / "re2")])
    # women (-3 + 4) / 2; no two men; a name without a pair counts only in the table by depth
    table = "|N_re|two women (2)|woman and man (1)|\n|---|---|---|\n|2|0.50|6.00|\n"
    assert pair_table(results) == "### SI_SNRi by sex\n\n" + table
    assert depth_table(results, ["SI_SNR"], {}).endswith("|2|4.00|0.00|4.00|25%|\n")


def test_no_table_by_sex_where_it_is_unknown(experiment: Path) -> None:
    mixture, depths = folders(experiment)
    assert pair_table(read_set("test", mixture, depths)) == ""


def test_the_table_by_mixture(experiment: Path) -> None:
    mixture, depths = folders(experiment)
    assert file_table(read_set("test", mixture, depths)) == (
        "|mixture|SI_SNR|SI_SNRi at 1|SI_SNRi at 10|\n"
        "|---|---|---|---|\n"
        "|a|0.00|5.00|10.00|\n"
        "|b|1.00|7.00|9.50|\n"
    )


def test_a_long_table_is_thinned_evenly(tmp_path: Path) -> None:
    plant_scores(tmp_path / "mixture", {"SI_SNR": {f"utt{n:03}": (n, n) for n in range(100)}})
    lines = file_table(read_set("test", tmp_path / "mixture", [])).splitlines()[2:]
    assert len(lines) == 30
    assert lines[0].startswith("|utt000|")
    assert lines[-1].startswith("|utt099|")


def report_options(experiment: Path) -> list[str | Path]:
    mixture, depths = folders(experiment)
    options = ["--enh_exp", experiment, "--model", "exp/valid.loss.ave.pth", "--fs", "8000"]
    options += ["--metrics", "SI_SNR", "STOI", "--mixture", "test", mixture]
    for n_re, folder in depths:
        options += ["--scored", "test", n_re, folder]
    return options


def make_report(*options: str | Path) -> None:
    write_results.make_report(write_results.get_parser().parse_args([str(one) for one in options]))


def test_the_program_writes_report_csv_and_picture(experiment: Path, run_tool) -> None:
    done = run_tool("write_results", *report_options(experiment))
    assert done.returncode == 0, done.stderr
    assert "|10|93.00|10.25|-0.50|9.75|" in done.stdout
    assert f"report: {experiment / 'RESULTS.md'}\n" in done.stdout
    text = (experiment / "RESULTS.md").read_text()
    for part in ("- espnet version: `202", "- git hash: `", "- model: `exp/valid.loss.ave.pth`"):
        assert part in text
    assert "N_re 10: `wavs/1/a.wav`, `wavs/2/a.wav`" in text
    assert "](quality_by_cost.png)" in text
    with (experiment / "RESULTS.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert rows[-1] | {"dataset": "test", "n_re": "10", "utterance": "b"} == rows[-1]
    assert rows[-1]["SI_SNRi"] == "9.5000"
    picture = image.imread(experiment / "quality_by_cost.png")
    assert picture.std() > 0.05  # not blank
    again = run_tool("write_results", *report_options(experiment), "--only_print")
    assert again.stdout == done.stdout


def test_the_cost_is_that_of_the_depth() -> None:
    config = yaml.safe_load(TINY_CONFIG)  # of two repetitions
    labels = ["1", "2", "3", "default"]
    parts = build_model(config, {})
    cost = cost_by_depth(parts, 8000, labels)
    assert list(cost) == labels
    assert cost["default"] == cost["2"]
    assert cost["2"] - cost["1"] == pytest.approx(cost["3"] - cost["2"])
    assert cost_by_depth(parts, 16000, ["1"])["1"] > 2 * cost["1"]
    changes = {"separator_conf": {"reconstructor_repeat_times": 3}}
    deeper = build_model(config, changes)
    assert cost_by_depth(deeper, 8000, labels) == cost | {"default": cost["3"]}
    assert config == yaml.safe_load(TINY_CONFIG)


def test_a_report_builds_the_model_once(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built, build_parts = [], cost.build_parts
    monkeypatch.setattr(
        cost,
        "build_parts",
        lambda config: built.append(1) or build_parts(config),
    )
    make_report(*report_options(experiment))
    assert built == [1] and "GMAC" in (experiment / "RESULTS.md").read_text()


def test_a_model_without_depth_has_no_cost_and_no_picture(experiment: Path, run_tool) -> None:
    (experiment / "config.yaml").write_text("separator: rnn\n")
    (experiment / "quality_by_cost.png").touch()  # of an earlier report
    (experiment / "enhanced_re1_test").rename(experiment / "enhanced_test")
    mixture, _ = folders(experiment)
    options = ["--enh_exp", experiment, "--model", "exp/valid.loss.ave.pth", "--fs", "8000"]
    options += ["--metrics", "SI_SNR", "--mixture", "test", mixture]
    options += ["--scored", "test", "default", experiment / "enhanced_test"]
    done = run_tool("write_results", *options)
    assert done.returncode == 0, done.stderr
    assert "|N_re|SI_SNR|SDRi|SI_SNRi|worse|\n" in done.stdout
    assert "|default|6.50|7.00|6.00|0%|\n" in done.stdout
    text = (experiment / "RESULTS.md").read_text()
    assert "GMAC" not in text and "![" not in text
    assert not (experiment / "quality_by_cost.png").exists()


PUBLISHED = """\
test:
  - {model: theirs, n_re: 3, params_m: 8.0, SI_SNRi: 23.9, SDRi: 24.0, source: a paper}
  - {model: other, SI_SNR: "25.20"}
another: [{model: elsewhere}]
"""


def test_the_best_published_results_are_drawn(experiment: Path) -> None:
    rows = [
        {"model": "deep", "n_re": 1, "SI_SNRi": 20.0},
        {"model": "deep", "n_re": 6, "SI_SNRi": 24.0},
        {"model": "without", "SDRi": 30.0},
        {"model": "large", "SI_SNRi": 25},
        {"model": "old", "SI_SNRi": 10.0},
        {"model": "older", "SI_SNRi": 9.0},
    ]
    found = best_published(rows)
    assert found == {"large (published)": 25, "deep, N_re 6 (published)": 24.0} | {
        "old (published)": 10.0
    }
    published = experiment.parent / "published.yaml"
    pictures = []
    for gain in (23.9, 12.3):
        published.write_text(f"test: [{{model: theirs, SI_SNRi: {gain}}}]\n")
        make_report(*report_options(experiment), "--published", published)
        pictures.append((experiment / "quality_by_cost.png").read_bytes())
    assert pictures[0] != pictures[1]


def test_published_results_stand_beside_ours(experiment: Path) -> None:
    published = experiment.parent / "published.yaml"
    published.write_text(PUBLISHED)
    options = [*report_options(experiment), "--published", published]
    make_report(*options)
    text = (experiment / "RESULTS.md").read_text()
    _, _, section = text.partition("### Comparison with published results\n\n")
    assert section.startswith(
        "|model|N_re|M parameters|SI_SNR|SDRi|SI_SNRi|source|\n"
        "|---|---|---|---|---|---|---|\n"
        "|**exp**|1|0.0|6.50|7.00|6.00|this run|\n"
        "|**exp**|10|0.0|10.25|-0.50|9.75|this run|\n"
        "|theirs|3|8.0||24.0|23.9|a paper|\n"
        "|other|||25.20||||\n\n"
    )
    assert "elsewhere" not in text
    assert "not the published mixtures" not in text
    # published scores become a column
    published.write_text("test: [{model: full, STOI: 98.1, SIR: 33.5}]\n")
    write_scp(experiment.parent / "dump/utt2levels", {"a": "measured", "b": "measured"})
    make_report(*options)
    text = (experiment / "RESULTS.md").read_text()
    _, _, section = text.partition("### Comparison with published results\n\n")
    assert section.splitlines()[0] == (
        "|model|N_re|M parameters|STOI|SIR|SI_SNR|SDRi|SI_SNRi|source|"
    )
    assert section.splitlines()[3] == "|**exp**|10|0.0|93.00|0.00|10.25|-0.50|9.75|this run|"
    assert section.splitlines()[4] == "|full|||98.1|33.5|||||"
    assert "**These are not the published mixtures:** the speakers' levels were measured" in text
    assert depth_tables(text).startswith("test\n|N_re|")
    published.write_text("test: [{modle: theirs}]\n")
    with pytest.raises(TisdissError, match="published.yaml: test: expected a list of .*$"):
        make_report(*options)


def test_only_the_tables_by_depth_are_printed() -> None:
    table = "|N_re|SI_SNR|\n|---|---|\n|1|6.50|\n"
    other = "|mixture|SI_SNR|\n|---|---|\n|a|0.00|\n"
    sections = [f"## {name}\n\nNote.\n\n{table}\n### By mixture\n\n{other}" for name in "xy"]
    report = "# RESULTS\n\n## exp\n\n- config: `c`\n- model: `m`\n\n" + "\n".join(sections)
    assert depth_tables(report) == f"x\n{table}\ny\n{table}"


def test_depths_scored_on_other_utterances_are_refused(experiment: Path) -> None:
    mixture, depths = folders(experiment)
    plant_scores(depths[0][1] / "scoring", {"SI_SNR": {"a": (1.0, 1.0)}})
    with pytest.raises(TisdissError, match="differ in their utterances"):
        read_set("test", mixture, depths)


def test_scores_of_parallel_jobs_are_joined_and_averaged(tmp_path: Path) -> None:
    plant_scores(tmp_path / "jobs" / "1" / "out", {"SI_SNR": {"b": (4.0, 6.0)}})
    plant_scores(tmp_path / "jobs" / "2" / "out", {"SI_SNR": {"a": (1.0, 2.0), "c": (0.0, 0.0)}})
    means = join_scores(tmp_path / "jobs", tmp_path / "scoring")
    assert means["SI_SNR"] == pytest.approx((5 + 1.5 + 0) / 3)
    assert (tmp_path / "scoring" / "result_si_snr.txt").read_text() == "2.1667\n"
    assert list(read_scores(tmp_path / "scoring", "SI_SNR")) == ["a", "b", "c"]
    assert read_scores(tmp_path / "scoring", "SI_SNR")["b"] == 5.0


def test_unusable_scores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TisdissError, match="no scores were written"):
        join_scores(tmp_path / "jobs", tmp_path / "scoring")
    with pytest.raises(TisdissError, match="has no SDR scores"):
        read_scores(tmp_path, "SDR")
    plant_scores(tmp_path, {"SI_SNR": {"a": (1.0, 2.0)}})
    write_scp(tmp_path / "SI_SNR_spk2", {"a": "high"})
    with pytest.raises(TisdissError, match="SI_SNR is not a number"):
        read_scores(tmp_path, "SI_SNR")
