"""The scaling experiment: its models, its runs, and the report of their scores."""

import csv
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scaling
import torch
import yaml
from depth_gain import gain_table, repetition_losses
from espnet2.train.reporter import Reporter
from matplotlib import image
from models import TINY
from recipe_folder import REPOSITORY, copy_recipe
from scaling_report import (
    Outcome,
    claims_table,
    collect,
    compare,
    quality_table,
    report_text,
    spread,
)
from scaling_variants import VARIANTS, Run, plan

from espnet2_tisdiss import TISDiSSSeparator
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.cost import CostCounter, parameters
from espnet2_tisdiss.processes import LogTail
from espnet2_tisdiss.recipes.stages.check_training import build, training_options
from espnet2_tisdiss.user_files import read_yaml

RECIPE = REPOSITORY / "egs2/mini_2mix/enh1"
CONFIG = RECIPE / "conf/train_scaling.yaml"
MIXTURES = 40
PAGE = "# Page\n\n<!-- scaling -->\nold\n<!-- /scaling -->\n\nby hand\n"


def experiment(*words: str) -> scaling.Experiment:
    return scaling.Experiment(*scaling.get_parser().parse_known_args(words))


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


# models


@pytest.fixture(scope="module")
def models() -> dict[str, torch.nn.Module]:
    """The model of every variant, from the options that run.sh is given."""
    made = {}
    for run in plan(Path("exp"), list(VARIANTS), [0]):
        words = experiment().options_of(run, "train")
        enh_args = option(words, "--enh_args").split()
        made[run.variant.name] = build(training_options(CONFIG, enh_args))
    return made


def test_each_model_has_the_losses_it_should(models):
    spectrum = torch.randn(1, 20, 129, dtype=torch.complex64)
    with torch.no_grad():
        losses = {
            name: len(model.separator.train()(spectrum, None)[0]) // 2
            for name, model in models.items()
        }
    # the splitter's and one a repetition or layer
    assert losses == {"re1": 2, "re2": 3, "re3": 4, "re6": 7, "unshared": 4, "single_loss": 1}


def test_models_that_are_compared_cost_the_same(models):
    cost = {
        name: CostCounter(model.encoder, model.separator, 8000) for name, model in models.items()
    }
    expected = cost["re3"].macs_per_s(3)
    assert cost["single_loss"].macs_per_s(3) == cost["re6"].macs_per_s(3) == expected
    (n_re,) = VARIANTS["unshared"].separated_at([1, 2, 3])
    assert cost["unshared"].macs_per_s(n_re) == expected > cost["re3"].macs_per_s(2)


def test_only_sharing_changes_the_parameters(models):
    sizes = {name: parameters(model.separator) for name, model in models.items()}
    unshared = sizes.pop("unshared")
    assert len(set(sizes.values())) == 1
    blocks = models["re3"].separator
    one_more = parameters(blocks.encoder_blocks) + 2 * parameters(blocks.reconstructor_blocks)
    assert unshared == sizes["re3"] + one_more


def test_steps_and_seed_are_those_asked_for():
    asked = experiment("--steps", "1200", "--seed", "3")
    (run,) = plan(asked.folder, ["re6"], [7])
    assert run.folder == Path("exp/full_3/scaling_1200steps/re6_seed7")
    words = option(asked.options_of(run, "train"), "--enh_args").split()
    command = ["--config", str(CONFIG), "--output_dir", "none", *words]
    found = scaling_parser().parse_args(command)
    assert (found.max_epoch, found.num_iters_per_epoch, found.seed) == (3, 400, 7)
    assert found.scheduler_conf["max_steps"] == 1200
    assert found.separator_conf["reconstructor_repeat_times"] == 6


def scaling_parser():
    from espnet2.tasks.enh import EnhancementTask

    return EnhancementTask.get_parser()


def test_the_models_of_people_differ_in_depth_alone():
    asked = experiment("--recipe", "voices_2mix", "--voices", "DIR")
    assert asked.recipe == REPOSITORY / "egs2/voices_2mix/enh1"
    assert asked.folder == Path("exp/default_0/scaling")
    assert option(asked.command, "--voices") == "DIR"
    recipe = read_yaml(asked.recipe / "conf/train_default.yaml")
    short = read_yaml(asked.recipe / scaling.CONFIG)
    # the training is shorter and has one depth; the model is the package's
    assert short.pop("separator_conf").items() <= recipe.pop("separator_conf").items()
    varied = {"depth_schedule", "max_epoch", "scheduler_conf", "keep_nbest_models"}
    assert {name for name in recipe | short if recipe.get(name) != short.get(name)} == varied
    text = report_text(
        [],
        [Outcome(VARIANTS["re1"], read_yaml(asked.recipe / scaling.CONFIG), {0: {1: np.zeros(5)}})],
        {},
    )
    assert text.startswith("1000 steps of 4 segments of 2 s; 5 test mixtures.\n")


def test_unknown_options_go_to_run_sh_and_cannot_undo_the_runs_own():
    asked = experiment("--jobs", "2", "--ngpu", "1", "--stage", "1")
    assert option(asked.command, "--ngpu") == "1"
    assert "--jobs" not in asked.command
    (run,) = plan(asked.folder, ["unshared"], [0])
    words = asked.command + asked.options_of(run, "evaluate")
    last = words[len(words) - words[::-1].index("--stage")]
    assert (last, option(words, "--n_re")) == ("7", "1")


# runs


class Steps:
    """Replaces run.sh by processes that record when they begin and end."""

    def __init__(self, folder: Path, failing: str = ""):
        self.folder, self.failing, self.journal = folder, failing, folder / "journal"

    def begin(self, run: Run, step: str) -> scaling.Task:
        log = scaling.log_of(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        name, work = f"{run.name} {step}", f"{run.name} {step}" != self.failing
        script = (
            f"echo '+ {name}' >>'{self.journal}'; sleep 0.2; echo '- {name}' >>'{self.journal}'"
        )
        script += "; echo 'enh.sh: it broke'; exit 1" if not work else ""
        with log.open("ab") as output:
            process = subprocess.Popen(["sh", "-c", script], stdout=output, stderr=output)
        if step == "evaluate":
            plant(run, {1: 0.0})
        return scaling.Task(run, step, process, LogTail(log))

    def noted(self) -> list[str]:
        return self.journal.read_text().splitlines()


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch):
    monkeypatch.setattr(scaling, "POLL_S", 0.05)


def most_at_once(noted: list[str], step: str = "") -> int:
    ends = [1 if line[0] == "+" else -1 for line in noted if line.endswith(step)]
    return int(np.cumsum(ends).max())


def test_runs_go_seed_by_seed_and_one_after_the_other(tmp_path, capfd):
    steps, runs = Steps(tmp_path), plan(tmp_path, ["re1", "re3"], [0, 1])
    assert scaling.carry_out(runs, 1, steps.begin) == []
    begun = [line[2:] for line in steps.noted() if line[0] == "+"]
    order = ["re1_seed0", "re3_seed0", "re1_seed1", "re3_seed1"]
    assert begun == [f"{name} {step}" for name in order for step in ("train", "evaluate")]
    assert most_at_once(steps.noted()) == 1
    told = capfd.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in told] == order and "dB at N_re 1" in told[0]


def test_two_are_trained_at_a_time_but_one_is_evaluated(tmp_path):
    steps, runs = Steps(tmp_path), plan(tmp_path, ["re1", "re2", "re3", "re6"], [0])
    assert scaling.carry_out(runs, 2, steps.begin) == []
    assert most_at_once(steps.noted()) == 2
    assert most_at_once(steps.noted(), "evaluate") == 1
    assert len(steps.noted()) == 16


def test_a_failure_is_told_and_the_others_go_on(tmp_path):
    steps, runs = Steps(tmp_path, "re1_seed0 train"), plan(tmp_path, ["re1", "re3"], [0])
    (failed,) = scaling.carry_out(runs, 1, steps.begin)
    assert failed.startswith("re1_seed0: train failed (exit code 1); its log is ")
    assert failed.endswith("enh.sh: it broke")
    assert "+ re1_seed0 evaluate" not in steps.noted()
    assert "- re3_seed0 evaluate" in steps.noted()


def test_scores_that_cannot_be_read_are_a_failure_of_that_run_alone(tmp_path, monkeypatch):
    steps, runs = Steps(tmp_path), plan(tmp_path, ["re1", "re3"], [0])
    monkeypatch.setattr(sys.modules[__name__], "plant", lambda *_: None)
    assert scaling.carry_out(runs, 1, steps.begin) == [
        f"{name}: no run is finished: there is nothing to report"
        for name in ("re1_seed0", "re3_seed0")
    ]


def test_a_failed_run_is_told_whatever_the_report_and_leaves_the_page(
    planted, tmp_path, monkeypatch, capsys
):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.setattr(scaling, "plan", lambda *_: planted)
    monkeypatch.setattr(scaling, "read_yaml", lambda _: {"num_iters_per_epoch": 4})
    monkeypatch.setattr(scaling.Experiment, "prepare", lambda _: None)
    monkeypatch.setattr(scaling, "carry_out", lambda *_: ["re6_seed0: train failed"])
    monkeypatch.setattr(sys, "argv", ["scaling.sh", "--page", str(page)])
    with pytest.raises(TisdissError, match="^re6_seed0: train failed$"):
        scaling.main()
    assert page.read_text() == PAGE and "5.80" in capsys.readouterr().out
    (planted[0].folder / "RESULTS.csv").unlink()
    with pytest.raises(TisdissError, match="^re6_seed0: train failed\n.*RESULTS.csv: no such file"):
        scaling.main()


def test_threads_are_shared_by_trainings_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8,2")
    asked = experiment("--jobs", "2")
    assert asked.environment_of("train")["OMP_NUM_THREADS"] == "4"
    assert asked.environment_of("evaluate")["OMP_NUM_THREADS"] == "8,2"
    assert experiment("--jobs", "1").environment_of("train")["OMP_NUM_THREADS"] == "8,2"


# report


def plant(run: Run, means: dict[int, float], noise: float = 0.0, **changes: object) -> None:
    """Write the results of a finished run, with these means of the mixtures' gains by N_re."""
    run.folder.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load(CONFIG.read_text()) | changes
    config["separator_conf"] |= {k: yaml.safe_load(v) for k, v in run.variant.options.items()}
    (run.folder / "config.yaml").write_text(yaml.safe_dump(config))
    with (run.folder / "RESULTS.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "n_re", "utterance", "SI_SNRi"])
        for label in ("mixture", *means):
            for index in range(MIXTURES):
                sign = 1 if index % 2 else -1
                gain = means.get(label, 0.0) + 3 * np.sin(index) + sign * noise * (label != 1)
                writer.writerow(["test", label, f"utt{index}", f"{gain:.4f}"])
    (run.folder / ".results").touch()


def plant_epochs(folder: Path, epochs: list[dict[int, float]]) -> None:
    """Write ESPnet's statistics of a training: the SI-SNR of each epoch by depth."""
    reporter = Reporter()
    for number, epoch in enumerate(epochs, start=1):
        reporter.set_epoch(number)
        with reporter.observe("train") as observed:
            observed.register({f"si_snr_loss_depth-{n}": -value for n, value in epoch.items()})
            observed.register({"loss": 0.0})
            observed.next()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"reporter": reporter.state_dict()}, folder / "checkpoint.pth")


LEVEL = 3 * np.sin(np.arange(MIXTURES)).mean()  # of the planted mixtures


@pytest.fixture
def planted(tmp_path: Path) -> list[Run]:
    """Two seeds each; re6 is missing, and of single_loss the second seed."""
    runs = plan(tmp_path / "exp", list(VARIANTS), [0, 1])
    for run in runs:
        level = 5 - LEVEL + 0.1 * run.seed
        if run.variant.name == "re1":
            plant(run, {1: level, 2: level - 1, 3: level - 2})
        elif run.variant.name == "re2":  # better by chance with one seed only
            plant(run, {1: level + 0.3 - 0.8 * run.seed, 2: level, 3: level}, 0.01)
        elif run.variant.name == "re3":  # half a dB more at 3 than at 1
            plant(run, {1: level + 0.25, 2: level + 0.5, 3: level + 0.75}, 0.01)
        elif run.variant.name == "unshared":  # as good as re3 except for noise of 2 dB
            plant(run, {1: level + 0.75})
            blur(run)
        elif run.name == "single_loss_seed0":
            plant(run, {1: level - 1, 2: level, 3: level + 0.5})
        deepest = run.variant.n_re if run.variant.name.startswith("re") else 1
        epoch = {n: 0.0 if n == 0 else 3.0 + n for n in range(deepest + 1)}
        plant_epochs(run.folder, [epoch, {n: 2 * value + run.seed for n, value in epoch.items()}])
    return runs


def blur(run: Run) -> None:
    """Make every other mixture 2 dB better and the others 2 dB worse."""
    path = run.folder / "RESULTS.csv"
    rows = list(csv.reader(path.open(newline="")))
    for index, row in enumerate(rows[1:]):
        row[3] = f"{float(row[3]) + (2 if index % 2 else -2):.4f}"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def cells(text: str) -> dict[str, list[str]]:
    """The rows of a table by their first cell."""
    rows = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_the_table_has_means_spread_and_the_best_depth(planted):
    found = cells(quality_table(collect(planted)))
    assert found["model"] == ["trained at", "seeds", "M parameters", "N_re 1", "N_re 2", "N_re 3"]
    assert found["re1"] == ["1", "0, 1", "0.46", "**5.05 ± 0.07**", "4.05 ± 0.07", "3.05 ± 0.07"]
    assert found["re3"][3:] == ["5.30 ± 0.07", "5.55 ± 0.07", "**5.80 ± 0.07**"]
    assert found["single_loss"][1] == "0"
    assert found["single_loss"][3:] == ["4.00", "5.00", "**5.50**"]
    # without repetitions, at the depth that costs the same
    assert found["unshared"][3:] == ["", "", "5.80 ± 0.07"]
    assert float(found["unshared"][2]) > float(found["re3"][2])
    cost = [float(cell) for cell in found["GMAC/s"][3:]]
    assert cost[2] - cost[1] == pytest.approx(cost[1] - cost[0], abs=0.011) and cost[0] > 0.1


def test_the_spread_of_two_and_of_three():
    assert spread([4.0]) is None
    assert spread([4.0, 5.0]) == pytest.approx(0.5**0.5)
    assert spread([1.0, 2.0, 3.0]) == pytest.approx(1.0)


def test_comparisons_say_what_is_significant_and_what_is_not(planted):
    found = cells(claims_table(collect(planted)))
    assert found["re1: its best N_re against 1"] == ["", "", "", "it is best at N_re 1"]
    assert found["re3: its best N_re against 3"] == ["", "", "", "it is best at N_re 3"]
    assert found["re2: its best N_re against 1 (N_re 2)"][0] == "+0.10"
    deeper = found["re3: its best N_re against 1 (N_re 3)"]
    assert deeper == ["+0.50", "[+0.50, +0.50]", "+0.50, +0.50", "significant"]
    assert found["re3 against re1, both at N_re 1"][0] == "+0.25"
    # the deeper-trained one at the depth that the other was trained for
    assert found["re3 against re2, both at N_re 2"] == [
        "+0.50",
        "[+0.50, +0.50]",
        "+0.50, +0.50",
        "significant",
    ]
    assert found["re2 against re1, both at N_re 1"][2:] == [
        "+0.30, -0.50",
        "not significant: the seeds disagree",
    ]
    assert found["re3 against unshared, at equal cost"][0] in ("+0.00", "-0.00")
    assert found["re3 against unshared, at equal cost"][3] == "not significant"
    assert found["re3 against single_loss, at equal cost"][2:] == [
        "+0.25",
        "significant in one training",
    ]
    assert not any(question.startswith("re6") for question in found)


def test_the_interval_is_that_of_the_mean():
    rng = np.random.default_rng(1)
    other = rng.normal(5, 3, (1, 400))
    found = compare(other + rng.normal(0.2, 1, (1, 400)), other)
    assert found.by_seed[0] == pytest.approx(0.2, abs=0.15)
    # 1.96 deviations of 1 / sqrt(400) to either side; the spread of the mixtures does not matter
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.1)


def test_the_report_names_conditions_and_what_is_missing(planted):
    told = report_text(planted, collect(planted), {})
    assert told.startswith("3000 steps of 4 segments of 2 s; 40 test mixtures.\n")
    assert "what the last one adds" not in told
    missing = "re6_seed0, re6_seed1, single_loss_seed1"
    assert f"Not finished yet: {missing}." in told


def test_the_report_is_written_to_the_page(planted, tmp_path, capsys):
    page = tmp_path / "docs/page.md"
    page.parent.mkdir()
    page.write_text(PAGE)
    scaling.write_report(planted, [], page, "scaling")
    text = page.read_text()
    assert "**5.80 ± 0.07**" in text and "old" not in text and text.endswith("\n\nby hand\n")
    assert "](images/scaling.png)\n<!-- /scaling -->" in text
    assert image.imread(tmp_path / "docs/images/scaling.png").std() > 0.05  # not blank
    assert "**5.80 ± 0.07**" in capsys.readouterr().out


def test_what_depth_brings_as_training_goes_on(planted, tmp_path):
    (long,) = plan(tmp_path, ["re2"], [7])
    plant(long, {})
    plant_epochs(long.folder, [{0: 0.0, 1: float(e), 2: e + 0.1 * e} for e in range(1, 9)])
    trained = scaling.trainings(planted, [long.folder])
    assert list(trained) == ["re2", "re3", long.name]  # the others have no loss at two depths
    found = cells(gain_table(trained))
    # in the first epoch of two 4 dB, and a dB for each repetition; then twice that and the seed
    assert found["re3"] == ["3", "4.00 +2.00", "8.50 +4.00", "8.50 +4.00"]
    # a third of eight epochs is over in the third, two thirds in the sixth
    assert found[long.name] == ["2", "3.00 +0.30", "6.00 +0.60", "8.00 +0.80"]
    assert f"| {long.name} | 2 | 3.00 +0.30 |" in report_text(planted, collect(planted), trained)
    with pytest.raises(TisdissError, match="none: holds no training"):
        scaling.trainings(planted, [tmp_path / "none"])
    checkpoint = long.folder / "checkpoint.pth"
    empty = {"reporter": {"stats": {1: {}}}}
    for damage in (b"", b"text", checkpoint.read_bytes()[:200], empty):
        torch.save(damage, checkpoint) if damage is empty else checkpoint.write_bytes(damage)
        with pytest.raises(TisdissError, match="checkpoint.pth: damaged, or not a training"):
            scaling.trainings(planted, [long.folder])


def test_trainings_of_one_name_are_not_taken_for_seeds(tmp_path):
    folders = [plan(tmp_path / name, ["re2"], [0])[0].folder for name in ("a", "b")]
    for folder in folders:
        plant(plan(folder.parent, ["re2"], [0])[0], {})
        plant_epochs(folder, [{0: 0.0, 1: 1.0, 2: 2.0}])
    assert list(scaling.trainings([], folders)) == [str(folder) for folder in folders]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"reconstructor_repeat_times": 3}, {1: -3, 2: -2, 3: -1}),
        ({"reconstructor_repeat_times": 3, "spliter_loss": False}, {1: -3, 2: -2, 3: -1}),
        ({"reconstructor_repeat_times": 2, "reconstructor_n_layers": 2}, {1: -3, 2: -1}),
        ({"reconstructor_repeat_times": 3, "reconstructor_multi_decoder": False}, {}),
        ({"reconstructor_repeat_times": 1, "reconstructor_n_layers": 3}, {}),
    ],
)
def test_the_losses_of_the_repetitions_are_those_that_the_separator_has(options, expected):
    assert repetition_losses(options) == expected
    separator = TISDiSSSeparator(input_dim=17, **TINY | options)
    spectrum = torch.randn(1, 8, 17, dtype=torch.complex64)
    with torch.no_grad():
        supervised = separator.train()(spectrum, None)[0][::2]
        depths = [estimates[0] for estimates in separator.anytime(spectrum)]
    for n_re, index in expected.items():
        torch.testing.assert_close(supervised[index], depths[n_re])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 8),
        ("decoder", "conv"),
        ("model_conf", {"normalize_variance": False}),
        ("grad_clip", 1.0),
        ("init_param", ["other.pth"]),
        ("train_data_path_and_name_and_type", [["other", "speech_mix", "sound"]]),
    ],
)
def test_runs_under_other_conditions_are_not_compared(planted, name, value):
    plant(planted[0], {1: 1.0}, **{name: value})
    with pytest.raises(TisdissError, match=f"with another {name} than .*re1_seed0"):
        collect(planted)


def test_seeds_without_a_common_depth_are_refused(tmp_path):
    runs = plan(tmp_path, ["re1"], [0, 1])
    for run in runs:
        plant(run, {1 + run.seed: 1.0})
    with pytest.raises(TisdissError, match="re1: its seeds share no depth"):
        collect(runs)


def test_nothing_finished_is_told(tmp_path):
    with pytest.raises(TisdissError, match="no run is finished"):
        collect(plan(tmp_path, ["re1"], [0]))


def test_the_page_of_the_documentation_has_the_section():
    for recipe in scaling.RECIPES.values():
        scaling.check_page(REPOSITORY / "docs/scaling.md", recipe.section)


# the program


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A copy of the recipe in a tree like the repository's, with epochs of four steps."""
    folder = copy_recipe("mini_2mix", tmp_path)
    config = folder / "conf/train_scaling.yaml"
    config.write_text(
        re.sub("num_iters_per_epoch: .*", "num_iters_per_epoch: 4", config.read_text())
    )
    (tmp_path / "page.md").write_text(PAGE)
    return folder


def start(recipe: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["env", f"PYTHON={sys.executable}", recipe / "scaling.sh", *options],
        cwd=recipe.parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variants", "re4"], "argument --variants: 're4': must be of re1, re2, re3, re6, "),
        (["--seeds", "one"], "argument --seeds: 'one': must be whole numbers"),
        (["--n_re", "0 1"], "argument --n_re: '0 1': must be numbers from 1 on"),
        (["--jobs", "0"], "argument --jobs: expected a whole number of 1 or more, found '0'"),
    ],
)
def test_wrong_options_are_named(options, message, capsys):
    with pytest.raises(SystemExit):
        scaling.get_parser().parse_known_args(options)
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--report_only"], "scaling.sh: no run is finished: there is nothing to report\n"),
        (["--page", "no.md"], "scaling.sh: no.md: No such file or directory\n"),
        (["--longer", "none"], "scaling.sh: none: holds no training\n"),
    ],
)
def test_what_cannot_be_done_is_told_before_the_work(recipe, options, message):
    out, error = start(recipe, *options).communicate()
    assert (out, error) == ("", message)
    assert not (recipe / "data").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_is_interrupted_goes_on_and_is_then_skipped(recipe):
    options = ["--size", "tiny", "--steps", "8", "--variants", "re1 unshared", "--seeds", "0"]
    options += ["--n_re", "1 2", "--page", "page.md"]
    exp = recipe / "exp/tiny_0/scaling_8steps"
    first = start(recipe, *options)
    while not (exp / "re1_seed0/checkpoint.pth").exists():
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    first.communicate()
    assert first.returncode == 130

    second = start(recipe, *options)
    out, error = second.communicate()
    assert second.returncode == 0, error
    assert "training continues from" in (exp / "re1_seed0/scaling.log").read_text()
    finished = [line for line in error.splitlines() if ": finished: SI-SNRi" in line]
    assert [line.split(":")[0] for line in finished] == ["re1_seed0", "unshared_seed0"]
    assert "8 steps of 4 segments of 2 s; 4 test mixtures." in out
    page = recipe.parents[2] / "page.md"
    assert cells(page.read_text())["unshared"][0] == "3"

    before = {path: path.stat().st_mtime_ns for path in exp.rglob("*.pth")}
    third = start(recipe, *options, "--jobs", "2")
    again, error = third.communicate()
    assert third.returncode == 0, error
    assert again == out
    assert {path: path.stat().st_mtime_ns for path in exp.rglob("*.pth")} == before
