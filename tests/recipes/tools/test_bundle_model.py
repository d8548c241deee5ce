"""From a recipe's experiment to a model of the package."""

import shutil
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from lock_holder import held
from recipe_folder import make_data_dir, plant_scores

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.pretrained import bundled
from espnet2_tisdiss.pretrained.finding import find_model
from espnet2_tisdiss.recipes.stages import write_results
from espnet2_tisdiss.recipes.stages.join_scores import METRICS
from espnet2_tisdiss.recipes.tools.bundle_model import bundle, get_parser

# of the three mixtures of make_data_dir, at N_re 1 and 2
GAINS = {1: [1.0, 2.0, 3.0], 2: [9.0, 5.0, -2.0]}
ABOUT = {
    "trained_on": "hums and noises.",
    "good_for": "hums.",
    "not_good_for": "music.",
    "example": "two hums.",
    "sets": {"test_voices": ["unseen voices", "voices that no training mixture has"]},
}
PATHS = {
    "output_dir": "/home/someone/exp",
    "train_shape_file": ["exp/stats/train/speech_mix_shape"],
    "train_data_path_and_name_and_type": [["dump/raw/tr/wav.scp", "speech_mix", "sound"]],
    "init_param": ["/home/someone/start.pth"],
    "utt2spk": "dump/raw/tr/utt2spk",
    "wandb_project": "someone's",
    "preprocessor": "dynamic_mixing",
    "preprocessor_conf": {"source_scp_name": "wav.scp"},
    "dynamic_mixing": True,
}


@pytest.fixture
def experiment(espnet_model, tmp_path, monkeypatch):
    """Make an experiment as the recipe's stages leave it, an example, and about.yaml."""
    make_data_dir(tmp_path / "data/test", tmp_path / "audio", 3)
    for part, scp in (("mix", "wav"), ("s1", "spk1"), ("s2", "spk2")):
        (tmp_path / "example" / part).mkdir(parents=True)
        first = next(iter(read_scp(tmp_path / f"data/test/{scp}.scp").values()))
        shutil.copy(first, tmp_path / "example" / part / "a.wav")
    (tmp_path / "about.yaml").write_text(yaml.safe_dump(ABOUT))
    exp = tmp_path / "exp/enh_train"
    exp.mkdir(parents=True)
    espnet_model()
    config = yaml.safe_load((tmp_path / "config.yaml").read_text()) | PATHS
    (exp / "config.yaml").write_text(yaml.safe_dump(config | {"ngpu": 1, "version": "202611"}))
    shutil.move(tmp_path / "model.pth", exp / "valid.loss.ave.pth")
    (tmp_path / "config.yaml").unlink()

    keys = list(read_scp(tmp_path / "data/test/wav.scp"))
    options = ["--enh_exp", exp, "--model", exp / "valid.loss.ave.pth", "--fs", 8000]
    options += ["--metrics", *METRICS]
    for name in ("test_voices", "another_set"):
        scored = {n_re: exp / f"enhanced_re{n_re}_{name}" for n_re in GAINS}
        plant_same(tmp_path / "dump" / name, keys, [0.0] * 3)
        options += ["--mixture", name, tmp_path / "dump" / name]
        for n_re, folder in scored.items():
            plant_same(folder / "scoring", keys, GAINS[n_re])
            options += ["--scored", name, n_re, folder]
    write_results.make_report(write_results.get_parser().parse_args(list(map(str, options))))
    monkeypatch.chdir(tmp_path)
    return exp


def plant_same(folder, keys, values):
    """Write score lists whose metrics and speakers all have the values."""
    same = {key: (value, value) for key, value in zip(keys, values, strict=True)}
    plant_scores(folder, dict.fromkeys(METRICS, same))


def arguments(exp, *more):
    options = ["--example", "example", "--about", "about.yaml", *more]
    options += ["--models", "models", "--conf", "conf"]
    return get_parser().parse_args([str(exp), "--name", "small", *options])


def packed(exp, *more):
    bundle(arguments(exp, "--test_sets", "test_voices", *more))
    files = [path for path in Path("models").rglob("*") if path.suffix != ".lock"]
    return {path: path.read_bytes() for path in files if path.is_file()}


def refused(exp, match, *more):
    with pytest.raises(TisdissError, match=match) as caught:
        packed(exp, *more)
    assert "\n" not in str(caught.value)
    assert not any(Path("models").glob("[!.]*")) and not Path("conf").exists()


@pytest.mark.promise("one-run-a-folder")
def test_a_model_that_another_run_packs_is_refused(experiment):
    with held(Path("models/small")) as other:
        refused(experiment, f"in use by process {other.pid}", "--test_sets", "test_voices")


def test_the_packed_model_is_the_trained_one(experiment, monkeypatch):
    files = packed(experiment)
    assert files == packed(experiment)  # to the byte
    monkeypatch.setattr(bundled, "MODELS", Path("models").absolute())
    loaded = SeparateSpeech.from_pretrained("small")
    trained = torch.load(experiment / "valid.loss.ave.pth", weights_only=True)
    assert find_model("small")["model_file"].endswith("models/small/model.pth")
    for name, value in loaded.enh_model.state_dict().items():
        assert torch.equal(value, trained[name])


def test_the_configuration_is_without_paths_and_trains_on(experiment):
    packed(experiment)
    config = yaml.safe_load(Path("models/small/config.yaml").read_text())
    trained = yaml.safe_load((experiment / "config.yaml").read_text())
    changed = {key for key in trained if config.get(key) != trained[key]}
    assert changed == {*PATHS, "ngpu", "separator_conf"}
    assert config["separator_conf"] == trained["separator_conf"] | {"sample_rate": 8000}
    assert not any(text in str(config) for text in ("home", "dump", "someone"))
    assert config["preprocessor"] == "enh"
    tuned = yaml.safe_load(Path("conf/finetune_small.yaml").read_text())
    assert tuned["separator_conf"] == config["separator_conf"]
    assert tuned["optim_conf"]["lr"] == 3e-4


def test_the_card_and_the_results_have_the_figures(experiment):
    for name in ("training_curve.png", "training_curve.md"):
        (experiment / name).write_text(name)
    packed(experiment)
    card = Path("models/small/README.md").read_text()
    rows = [line.split("|")[1:-1] for line in card.splitlines() if line.startswith("|")]
    assert rows[0] == ["N_re", "unseen voices", "GMAC/s"]
    assert [row[:2] for row in rows[2:4]] == [["1", "2.00"], ["2", "4.00"]]
    assert rows[4] == ["N_re", "median", "made worse"]
    assert rows[6:] == [["1", "2.00", "0%"], ["2", "5.00", "33%"]]
    assert "**Trained on** hums and noises." in card and "**Not good for** music." in card
    assert "\n\n**Example** two hums.\n" in card
    assert "- unseen voices: voices that no training mixture has; 3 mixtures" in card
    results = Path("models/small/RESULTS.md").read_text()
    assert "## test_voices\n" in results and "|4.00|33%|" in results
    for name in ("training_curve.png", "training_curve.md"):
        assert Path("models/small", name).read_text() == name and f"]({name})" in card
    assert not any(text in results for text in ("another_set", "exp/", "By mixture", "png", "wav"))


def test_the_example_is_copied_and_kept(experiment):
    packed(experiment)
    example = Path("models/small/example")
    for part in ("mix", "s1", "s2"):
        kept, rate = soundfile.read(example / part / "two_voices.wav", dtype="int16")
        assert rate == 8000
        assert (kept == soundfile.read(f"example/{part}/a.wav", dtype="int16")[0]).all()
    before = (example / "s1/two_voices.wav").read_bytes()
    args = arguments(experiment, "--test_sets", "test_voices")
    args.example = None  # the model's own
    bundle(args)
    assert (example / "s1/two_voices.wav").read_bytes() == before


def test_what_a_package_does_not_take(experiment, monkeypatch):
    refused(experiment, "RESULTS.csv: no depths of none were scored", "--test_sets", "none")
    refused(experiment, "Small: expected small letters", "--name", "Small")
    refused(experiment, "another/mix: expected one .wav file, found 0", "--example", "another")
    Path("about.yaml").write_text(yaml.safe_dump(ABOUT | {"sets": {}}))
    refused(experiment, "--about: sets: says nothing of test_voices")
    wrong = {"sets": {"test_voices": ["one", "two", "three"]}}
    Path("about.yaml").write_text(yaml.safe_dump(ABOUT | wrong))
    refused(experiment, r"about.yaml: sets: test_voices: expected \[heading, meaning\]")
    Path("about.yaml").write_text("sets: {}\n")
    refused(experiment, "about.yaml: expected the keys trained_on, good_for, not_good_for, sets")
    Path("about.yaml").write_text(yaml.safe_dump(ABOUT))
    with monkeypatch.context() as limited:
        limited.setattr("espnet2_tisdiss.recipes.tools.bundle_model.MOST_PARAMETERS", 10)
        refused(experiment, r"\d+ parameters, more than the 10")
    with monkeypatch.context() as limited:
        limited.setattr("espnet2_tisdiss.recipes.tools.bundle_model.MOST_BYTES", 1000)
        refused(experiment, r"\d+ bytes, more than the 1000")


def test_scores_of_other_weights_are_not_packed(experiment):
    results, weights = experiment / "RESULTS.md", experiment / "valid.loss.ave.pth"
    told = results.read_text()
    other = experiment / "latest.pth"
    results.write_text(told.replace(str(weights), str(other)))
    refused(experiment, f"has the scores of {other}; {weights} would be packed: .* {weights.name}")
    results.write_text(told.replace("- model:", "- weights:"))
    refused(experiment, "does not say whose scores it has")
    other.symlink_to(weights.name)  # the same weights by another name
    results.write_text(told.replace(str(weights), str(other)))
    packed(experiment)


def test_what_is_no_trained_model(experiment):
    weights, config = experiment / "valid.loss.ave.pth", experiment / "config.yaml"
    trained = torch.load(weights, weights_only=True)
    torch.save({name: value.double() for name, value in trained.items()}, weights)
    refused(experiment, "holds torch.float64; expected only float32")
    torch.save({"model": trained, "epoch": 3}, weights)
    refused(experiment, "holds more than weights")
    trained.popitem()
    torch.save(trained, weights)
    refused(experiment, f"^{experiment}: the model cannot be loaded|do not fit")
    config.write_text(config.read_text() + "init: /home/someone/init\n")
    refused(experiment, "config.yaml: init: a path would go into the package")
    weights.unlink()
    refused(experiment, "holds no weights")
