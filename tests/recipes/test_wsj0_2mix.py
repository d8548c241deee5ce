"""WSJ0-2mix from a small synthetic WSJ0 in its real layout: the formula, existing trees, errors."""

import os
import resource
import shutil
import subprocess
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from recipe_folder import (
    REPOSITORY,
    TINY_CONFIG,
    copy_recipe,
    files_of_runs,
    read_data_dir,
    tiny_recognition,
)
from scipy.signal import resample_poly

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.corpora.active_level import active_level
from espnet2_tisdiss.recipes.wsj0_2mix.prepare import get_parser, prepare
from espnet2_tisdiss.recipes.wsj0_2mix.speech import find_sets, find_utterances, index_files
from espnet2_tisdiss.recipes.wsj0_2mix.transcripts import plain_words

LOCAL = REPOSITORY / "egs2/wsj0_2mix/enh1/local"
SETS = {"si_tr_s": ("40n", "01x", "405"), "si_dt_05": ("22g", "22h"), "si_et_05": ("440", "441")}
# levels as the lists write them: with four digits, an exponent, and with a minus for the second
LEVELS = ("1.9857", "0.1", "5.2094e-07", "2.5")
VARIABLES = ("WSJ0", "WSJ0_2MIX", "WSJ0_MIX_LISTS")


def speech(seed: int) -> np.ndarray:
    """Bursts of noise with pauses, 1.2 to 1.6 s at 16 kHz, int16 of shape (n,)."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 1, 19200 + 101 * (seed * 37 % 64))
    envelope = np.abs(np.sin(np.arange(len(samples)) / 16000 * np.pi * rng.uniform(1, 3)))
    return np.round(10 ** rng.uniform(2.5, 3.5) * samples * envelope).astype(np.int16)


def write_lists(folder: Path, num_spk: int, names: dict[str, list[str]]) -> None:
    """Lists of 6, 3 and 3 mixtures in the corpus's form, which has a space at each line's end."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("tr", 6), ("cv", 3), ("tt", 3)):
        speakers = names["tt" if split == "tt" else "tr"]
        lines = []
        for index in range(count):
            level = LEVELS[index % len(LEVELS)]
            texts = [level, f"-{level}", "0.3"][:num_spk]
            chosen = [
                speakers[(index + shift) % len(speakers)][(index + (split == "cv")) % 2]
                for shift in range(num_spk)
            ]
            lines.append(
                "".join(f"{path} {text} " for path, text in zip(chosen, texts, strict=True))
            )
        (folder / f"mix_{num_spk}_spk_{split}.txt").write_text("\n".join(lines) + "\n")


@dataclass
class Mini:
    """A miniature WSJ0 (wav), its mixing lists, and a recipe folder."""

    wsj0: Path
    lists: Path
    recipe: Path
    made = "downloads/2speakers/wav8k/min"

    @property
    def levels(self) -> Path:
        """The folder of the published levels, where pywsj0-mix has it."""
        return self.lists / "activlev"

    def prepare(self, *options: str | Path, nj: int = 1) -> Path:
        """Run stage 1's program in the recipe folder; give its data folder."""
        words = ["--wsj0", self.wsj0, "--lists", self.lists, "--allow_subset", "--nj", nj]
        self.prepare_with(*words, *options)
        return self.recipe / "data"

    def prepare_with(self, *options: object) -> None:
        before = os.getcwd()
        os.chdir(self.recipe)
        try:
            prepare(get_parser().parse_args([str(word) for word in options]))
        finally:
            os.chdir(before)

    def write_levels(self, scale: float = 1) -> dict[str, float]:
        """The three files of published levels, for every utterance."""
        self.levels.mkdir(exist_ok=True)
        powers = {}
        for seed, name in enumerate(SETS):
            rng = np.random.default_rng(seed)
            texts = {
                path.stem: f"{scale * rng.uniform(1e-4, 1e-2):.16e}"
                for path in sorted((self.wsj0 / "wsj0" / name).glob("*/*.wav"))
            }
            lines = "".join(f"{utterance} {text}\n" for utterance, text in texts.items())
            (self.levels / f"activlev_{name}.txt").write_text(lines)
            powers |= {utterance: float(text) for utterance, text in texts.items()}
        return powers

    def source(self, utterance: str) -> np.ndarray:
        """Samples of an utterance, full scale 1."""
        (path,) = self.wsj0.glob(f"wsj0/*/*/{utterance}.wav")
        return soundfile.read(path, dtype="int16")[0] / 32768


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mini:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    wsj0 = tmp_path / "my corpora"  # with a space, as users have them
    names: dict[str, list[str]] = {"tr": [], "tt": []}
    seed = 0
    for name, speakers in SETS.items():
        for speaker in speakers:
            paths = []
            for number in (1, 2):
                path = f"wsj0/{name}/{speaker}/{speaker}a01{number}{'x' if seed % 2 else '0'}.wav"
                (wsj0 / path).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(wsj0 / path, speech(seed), 16000)
                paths.append(path)
                seed += 1
            names["tr" if name == "si_tr_s" else "tt"].append(paths)
    lists = tmp_path / "pywsj0-mix/metadata"
    for num_spk in (2, 3):
        write_lists(lists, num_spk, names)
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    made = Mini(wsj0, lists, recipe)
    made.write_levels()
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in files_of_runs(folder)}


def stated_formula(
    mini: Mini, line: str, powers: dict[str, float], rate: int, version: str
) -> list[np.ndarray]:
    """A line's mixture and sources as int16, computed only from the stated rules."""
    columns = line.split()
    scaled = []
    for path, level in zip(columns[0::2], columns[1::2], strict=True):
        utterance = Path(path).stem
        signal = mini.source(utterance)
        if rate == 8000:
            signal = resample_poly(signal, 1, 2)
            assert len(signal) == (len(mini.source(utterance)) + 1) // 2
        scaled.append(signal / powers[utterance] ** 0.5 * 10 ** (float(level) / 20))
    longest, shortest = max(map(len, scaled)), min(map(len, scaled))
    if version == "min":
        scaled = [signal[:shortest] for signal in scaled]
    else:
        scaled = [np.concatenate([s, np.zeros(longest - len(s))]) for s in scaled]
    signals = [sum(scaled), *scaled]
    peak = max(abs(signal).max() for signal in signals)
    return [np.int16(np.round(32768 * (signal * 0.9 / peak))) for signal in signals]


@pytest.mark.parametrize(
    ("num_spk", "fs", "version", "published"),
    [
        (2, "8k", "min", True),
        (2, "16k", "max", True),
        (3, "8k", "max", True),
        (2, "8k", "min", False),
    ],
)
def test_mixtures_follow_the_formula_to_the_least_significant_bit(
    mini, num_spk, fs, version, published
):
    if published:
        powers = mini.write_levels()
    else:  # measured at 8 kHz
        shutil.rmtree(mini.levels)
        paths = mini.wsj0.glob("wsj0/*/*/*.wav")
        powers = {
            path.stem: active_level(resample_poly(mini.source(path.stem), 1, 2), 8000).power
            for path in paths
        }
    options = ["--fs", fs, "--min_or_max", version, "--num_spk", str(num_spk)]
    data = mini.prepare(*options, *([] if published else ["--measure_levels"]))
    rate = int(fs.removesuffix("k")) * 1000
    which = ("" if num_spk == 2 else "_3spk") + f"_{version}_{fs}"
    for split in ("tr", "cv", "tt"):
        folder = f"downloads/{num_spk}speakers/wav{fs}/{version}/{split}"
        lines = (mini.lists / f"mix_{num_spk}_spk_{split}.txt").read_text().splitlines()
        wavs = read_scp(data / f"{split}{which}" / "wav.scp")
        assert len(wavs) == len(lines)
        for line in lines:
            columns = line.split()
            texts = [Path(word).stem if "/" in word else word for word in columns]
            name = "_".join(texts)
            speakers = "_".join(path.split("/")[2] for path in columns[0::2])
            assert wavs[f"{speakers}_{name}"] == f"{mini.recipe}/{folder}/mix/{name}.wav"
            signals = stated_formula(mini, line, powers, rate, version)
            # not strict: s3 is of three speakers only
            for part, expected in zip(["mix", "s1", "s2", "s3"], signals, strict=False):
                path = mini.recipe / folder / part / f"{name}.wav"
                made, made_rate = soundfile.read(path, dtype="int16")
                assert made_rate == rate and soundfile.info(path).subtype == "PCM_16"
                np.testing.assert_array_equal(made, expected)
            assert max(abs(signal.astype(int)).max() for signal in signals) == round(0.9 * 32768)


def test_data_directories_are_as_espnet_expects(mini):
    data = mini.prepare()
    assert sorted(path.name for path in data.iterdir()) == ["cv_min_8k", "tr_min_8k", "tt_min_8k"]
    lists = ["wav.scp", "spk1.scp", "spk2.scp", "utt2spk"]
    tables = read_data_dir(data / "tr_min_8k", lists)
    assert list(tables["wav.scp"]) == sorted(tables["wav.scp"])
    key = "405_40n_405a0110_5.2094e-07_40na0110_-5.2094e-07"
    assert tables["utt2spk"][key] == "405_40n"
    assert tables["spk2.scp"][key] == f"{mini.recipe}/{mini.made}/tr/s2/{key[8:]}.wav"
    assert key in read_scp(data / "tr_min_8k" / "spk2utt")["405_40n"].split()


@pytest.mark.parametrize("depth", range(4))
def test_an_existing_tree_is_taken_as_it_is(mini, tmp_path, monkeypatch, depth):
    data = mini.prepare()
    expected = {name: read_scp(data / name / "spk2.scp") for name in ("tr_min_8k", "tt_min_8k")}
    tree = tmp_path / "a tree"
    tree.mkdir()
    (mini.recipe / "downloads/2speakers").rename(tree / "2speakers")
    shutil.rmtree(mini.recipe)
    mini.recipe.mkdir()
    before = contents(tree)
    root = tree.joinpath(*Path("2speakers/wav8k/min").parts[:depth])
    monkeypatch.setenv("WSJ0_2MIX", str(root))
    mini.prepare_with("--allow_subset", "--nj", 1)
    for name, table in expected.items():
        found = read_scp(mini.recipe / "data" / name / "spk2.scp")
        assert list(found) == list(table)
        for key, path in table.items():
            assert found[key] == str(tree / Path(path).relative_to(mini.recipe / "downloads"))
    assert contents(tree) == before
    assert [path.name for path in mini.recipe.iterdir()] == ["data"]


def test_any_number_of_processes_gives_the_same_files(mini):
    mini.prepare(nj=1)
    first = contents(mini.recipe)
    shutil.rmtree(mini.recipe)
    mini.recipe.mkdir()
    mini.prepare(nj=2)
    assert contents(mini.recipe) == first


def test_what_is_finished_is_not_made_again(mini):
    mini.prepare()
    before = contents(mini.recipe)
    mixtures = sorted(mini.recipe.glob(f"{mini.made}/*/mix/*.wav"))
    halved, lost, *kept = mixtures
    os.truncate(halved, halved.stat().st_size // 2)  # as after a power cut
    lost.unlink()
    times = {path: path.stat().st_mtime_ns for path in kept}
    mini.prepare()
    assert contents(mini.recipe) == before
    assert {path: path.stat().st_mtime_ns for path in kept} == times


def complaint(mini: Mini, *options: str | Path) -> list[str]:
    """The lines of the error that the preparation ends with; no data directory is left then."""
    with pytest.raises(TisdissError) as raised:
        mini.prepare(*options)
    assert not (mini.recipe / "data").exists()
    return str(raised.value).split("\n")


def test_no_corpus(mini):
    with pytest.raises(TisdissError, match=r"where is WSJ0 .*WSJ0_2MIX.*Set WSJ0 in db\.sh"):
        mini.prepare_with("--allow_subset")
    (line,) = complaint(mini, "--wsj0", mini.recipe)
    assert "holds no WSJ0: neither wsj0/si_dt_05/*/*.wav nor" in line
    (line,) = complaint(mini, "--wsj0", mini.recipe / "nowhere")
    assert line == f"--wsj0 {mini.recipe / 'nowhere'}: no such folder"
    (line,) = complaint(mini, "--corpus", mini.wsj0)
    assert line == f"{mini.wsj0}: has no 2speakers/wav8k/min/tt/mix"


def test_no_list(mini):
    missing = mini.lists / "mix_2_spk_cv.txt"
    lines = missing.read_text()
    missing.unlink()
    (line,) = complaint(mini)
    assert line.startswith(f"{missing}: no such file; it is part of MERL's")
    with pytest.raises(TisdissError, match=r"^mix_2_spk_tr.txt: .*cannot be downloaded.*MIX_LISTS"):
        url = "http://127.0.0.1:9"  # nobody answers there
        mini.prepare_with("--wsj0", mini.wsj0, "--lists_url", url)
    for wrong in ("a/b/c.wav 1.0 a/b/d.wav\n", "c.wav 1 d.wav -1\n", "a/b/c.wav x a/b/d.wav 1\n"):
        missing.write_text(lines + wrong)
        (line,) = complaint(mini)
        assert line.startswith(f"{missing}:4: expected 2 times a path and a level, found '")
    (line,) = complaint(mini, "--num_spk", "3", "--lists", mini.recipe)
    assert "mix_3_spk_tr.txt: no such file" in line


def test_lists_are_downloaded_where_no_folder_is_given(mini):
    url = mini.lists.as_uri()
    mini.prepare_with("--wsj0", mini.wsj0, "--lists_url", url, "--allow_subset", "--nj", 1)
    assert (mini.recipe / "data/tt_min_8k/wav.scp").is_file()
    assert (mini.recipe / "downloads/lists/mix_2_spk_tr.txt").is_file()


def test_published_levels_are_downloaded_with_the_lists(mini):
    powers = mini.write_levels()
    options = ["--wsj0", mini.wsj0, "--allow_subset", "--nj", 1, "--lists_url"]
    mini.prepare_with(*options, mini.lists.as_uri())
    noted = read_scp(mini.recipe / "downloads/levels.txt")
    assert len(noted) == 12
    for name, text in noted.items():
        assert float(text) == powers[name]
    before = contents(mini.recipe)
    # nobody answers there: everything exists here
    mini.prepare_with(*options, "http://127.0.0.1:9")
    assert contents(mini.recipe) == before
    changed = mini.recipe / "downloads/lists/activlev/activlev_si_et_05.txt"
    changed.write_text(changed.read_text() + "01aa0101 1.0\n")
    with pytest.raises(TisdissError, match="si_et_05.txt: is not the file that was downloaded fi"):
        mini.prepare_with(*options, mini.lists.as_uri())


def test_without_published_levels_nothing_is_made(mini):
    mini.write_levels()
    (mini.levels / "activlev_si_et_05.txt").rename(mini.lists / "aside.txt")
    options = ["--wsj0", mini.wsj0, "--allow_subset", "--nj", 1, "--lists_url"]
    with pytest.raises(
        TisdissError,
        match=r"^activlev_si_et_05.txt: not there, and cannot be downloaded from .*"
        r"in the folder metadata/activlev of .*pywsj0-mix.*\"--measure_levels\"$",
    ):
        mini.prepare_with(*options, mini.lists.as_uri())
    assert not list(mini.recipe.rglob("*.wav")) and not (mini.recipe / "data").exists()
    assert not (mini.recipe / "downloads/lists/activlev").exists()  # all three or none
    # MERL's lists come without levels, which are downloaded then
    shutil.rmtree(mini.levels)
    (line,) = complaint(mini, "--lists_url", "http://127.0.0.1:9")  # nobody answers there
    assert line.startswith("activlev_si_tr_s.txt: not there, and cannot be downloaded from http")


def test_levels_beside_the_lists_are_found_too(mini):
    powers = mini.write_levels()
    for path in mini.levels.iterdir():
        path.rename(mini.lists / path.name)
    mini.prepare("--lists_url", "http://127.0.0.1:9")
    noted = read_scp(mini.recipe / "downloads/levels.txt")
    assert {name: powers[name] for name in noted} == {k: float(v) for k, v in noted.items()}


def test_measured_levels_are_asked_for_marked_and_kept_apart(mini):
    data = mini.prepare()
    assert not list(data.glob("*/utt2levels"))
    (line,) = stop(mini, "--measure_levels")
    assert line.endswith(
        "are made with levels published, not measured: remove it, or give another folder with --out"
    )
    shutil.rmtree(mini.recipe / "downloads")
    utterance = Path(next((mini.wsj0 / "wsj0/si_tr_s/40n").iterdir())).stem
    for _ in range(2):  # a repeated run continues
        mini.prepare("--measure_levels")
        noted = read_scp(mini.recipe / "downloads/levels.txt")
        measured = active_level(resample_poly(mini.source(utterance), 1, 2), 8000).power
        assert float(noted[utterance]) == pytest.approx(measured)
    for name in ("cv_min_8k", "tr_min_8k", "tt_min_8k"):
        marks = read_scp(data / name / "utt2levels")
        assert set(marks.values()) == {"measured"}
        assert list(marks) == list(read_scp(data / name / "wav.scp"))
    (line,) = stop(mini)
    assert "are made with levels measured, not published" in line
    (line,) = stop(mini, "--measure_levels", "--corpus", mini.recipe / "downloads")
    assert line.startswith("--measure_levels says how mixtures are made, but those of ")


def stop(mini: Mini, *options: str | Path) -> list[str]:
    """The lines of the error that the preparation ends with."""
    with pytest.raises(TisdissError) as raised:
        mini.prepare(*options)
    return str(raised.value).split("\n")


@pytest.mark.parametrize("spoil", ["header", "gone", "binary"])
def test_published_levels_of_another_form_are_refused(mini, spoil):
    path = mini.levels / "activlev_si_tr_s.txt"
    head, _, rest = path.read_text().partition("\n")
    spoiled = {"header": f"utterance power\n{head}\n{rest}", "gone": rest, "binary": head}[spoil]
    path.write_bytes(spoiled.encode() + b"\xff" * (spoil == "binary"))
    (line,) = complaint(mini)
    assert line.startswith(str(path if spoil != "gone" else mini.levels))


def test_pywsj0_mix_is_met_to_the_bit(mini):
    """Its arithmetic: float32 up to the resampled signals, then float64, and a gain above one."""
    powers = mini.write_levels(scale=1e-2)  # so that peaks pass 1, as with real levels
    data = mini.prepare("--as_pywsj0_mix")
    differing = 0
    for split in ("tr", "cv", "tt"):
        for line in (mini.lists / f"mix_2_spk_{split}.txt").read_text().splitlines():
            columns = line.split()
            names = [Path(path).stem for path in columns[0::2]]
            signals = [
                resample_poly(mini.source(name).astype(np.float32), 8000, 16000) for name in names
            ]
            assert all(signal.dtype == np.float32 for signal in signals)
            padded = [
                np.hstack([signal, np.zeros(max(map(len, signals)) - len(signal))])
                for signal in signals
            ]
            scaled = np.stack(
                [
                    signal / np.sqrt(powers[name]) * 10 ** (float(level) / 20)
                    for name, signal, level in zip(names, padded, columns[1::2], strict=True)
                ]
            )[:, : min(map(len, signals))]
            mixture = scaled.sum(axis=0)
            gain = np.max([1.0, np.abs(mixture).max(), np.abs(scaled).max()]) / 0.9
            name = "_".join(Path(word).stem if "/" in word else word for word in columns)
            expected = [np.int16(np.round(2**15 * (one / gain))) for one in (mixture, *scaled)]
            precise = stated_formula(mini, line, powers, 8000, "min")
            for part, one, other in zip(("mix", "s1", "s2"), expected, precise, strict=True):
                path = data.parent / mini.made / split / part / f"{name}.wav"
                np.testing.assert_array_equal(soundfile.read(path, dtype="int16")[0], one)
                differing += int((one != other).sum())
                assert np.abs(one.astype(int) - other).max() <= 1
    assert differing > 0  # so the two ways can be distinguished here
    (line,) = stop(mini)
    assert "are made with arithmetic float32, not float64" in line


def test_unusable_utterances_are_told_together_and_the_rest_is_done(mini):
    missing = mini.wsj0 / "wsj0/si_tr_s/40n/40na0110.wav"
    wrong = mini.wsj0 / "wsj0/si_et_05/440/440a0110.wav"
    saved = missing.read_bytes(), wrong.read_bytes()
    missing.unlink()
    soundfile.write(wrong, speech(1), 8000)
    lines = complaint(mini)
    assert lines[0] == f"{missing}: no such file; check its name"
    assert lines[1] == f"{wrong}: is at 8000 Hz, not 16000 Hz"
    assert lines[2].startswith("WSJ0: 2 of 12 failed")
    missing.write_bytes(saved[0])
    wrong.write_bytes(saved[1])
    os.truncate(missing, 10000)
    mini.write_levels()
    lines = complaint(mini)
    assert lines[0].startswith(f"{missing}: truncated: only 10000 of ")
    assert lines[1].startswith("WSJ0: 1 of 12 failed")
    missing.write_bytes(saved[0])
    # its header is sound, so this is found when it is read
    samples, rate = soundfile.read(missing)
    samples[9] = np.inf
    soundfile.write(missing, samples, rate, subtype="FLOAT")
    lines = complaint(mini)
    assert lines[0] == f"{missing}: sample 9 is inf, not a finite number"
    made = len(list(mini.recipe.glob(f"{mini.made}/*/mix/*.wav")))
    assert 0 < made < 12 and lines[-1].startswith(f"mixtures: {12 - made} of 12 failed")
    missing.write_bytes(saved[0])
    assert len(read_scp(mini.prepare() / "tr_min_8k/wav.scp")) == 6


def test_levels_are_complete_and_stay_the_same(mini):
    path = mini.levels / "activlev_si_dt_05.txt"
    text = path.read_text()
    path.write_text(text.partition("\n")[2])
    (line,) = complaint(mini)
    assert line.startswith(f"{mini.levels}: activlev_*.txt lack utterance 22ga0110: the published")
    path.unlink()
    (line,) = complaint(mini)
    assert line == f"{path}: no such file"
    path.write_text(text.replace(text.split()[1], "none"))
    (line,) = complaint(mini)
    assert line == f"{path}: 22ga0110: power 'none' is not a positive number"
    path.write_text(text)
    mini.prepare()
    path.write_text(text.replace(text.split()[1], "0.5"))
    with pytest.raises(
        TisdissError, match="downloads was begun with other levels than the published"
    ):
        mini.prepare()


def test_a_part_of_the_corpus_has_to_be_meant(mini):
    message = "tr_min_8k: 6 mixtures, but the corpus has 20000 there"
    for options in ([], ["--dynamic_mixing"]):
        with pytest.raises(TisdissError, match=message):
            mini.prepare_with("--wsj0", mini.wsj0, "--lists", mini.lists, "--nj", 1, *options)
    assert not list(mini.recipe.iterdir())  # it is found before anything is made
    mini.prepare()
    tree = ["--corpus", mini.recipe / "downloads", "--nj", 1, "--dynamic_mixing"]
    with pytest.raises(TisdissError, match=message):
        mini.prepare_with(*tree)
    assert not (mini.recipe / "downloads/singles").exists()


def test_training_and_test_speakers_are_told_apart_before_anything_is_made(mini):
    path = mini.lists / "mix_2_spk_tt.txt"
    path.write_text("wsj0/si_tr_s/40n/40na0110.wav 1.5 wsj0/si_et_05/440/440a0110.wav -1.5 \n")
    (line,) = complaint(mini)
    assert line.startswith("speaker 40n is in tr_min_8k and, with 40n_440_")
    assert not list(mini.recipe.iterdir())


def test_a_stereo_file_is_told_as_the_preparation_can_mend_it(mini):
    path = mini.wsj0 / "wsj0/si_tr_s/40n/40na0110.wav"
    soundfile.write(path, np.stack([speech(1)] * 2, axis=1), 16000)
    lines = complaint(mini)
    assert lines[0] == f"{path}: has 2 channels; the corpus has one there: put its own file back"


def test_an_unusable_source_of_single_utterances_is_named(mini):
    data = mini.prepare()
    shutil.rmtree(data)
    tree = mini.recipe / "downloads"
    first, *_ = sorted((tree / "2speakers/wav8k/min/tr/s1").iterdir())
    first.write_bytes(b"RIFF")
    lines = complaint(mini, "--corpus", tree, "--dynamic_mixing")
    assert lines[0].startswith(f"{first}: not a readable audio file (")
    assert lines[1].startswith("lengths: 1 of 12 failed")


def test_faults_of_an_existing_tree_are_named(mini):
    data = mini.prepare()
    shutil.rmtree(data)
    tree = mini.recipe / "downloads"
    split = tree / "2speakers/wav8k/min/cv"
    first, second, third = sorted((split / "mix").iterdir())
    (split / "s1" / first.name).unlink()
    (split / "s2" / second.name).write_bytes((split / "s2" / third.name).read_bytes())
    lines = complaint(mini, "--corpus", tree)
    assert lines[0] == f"{split / 's1' / first.name}: no such file; check its name"
    assert second.stem in lines[1] and ("samples, but" in lines[1] or "not the sum" in lines[1])
    odd = split / "mix" / "odd.wav"
    third.rename(odd)
    (line,) = complaint(mini, "--corpus", tree)
    assert line.startswith(f"{odd}: is not named as WSJ0-2mix's files are: <utt1>_<level1>_<utt2>")
    shutil.rmtree(split / "mix")
    (line,) = complaint(mini, "--corpus", tree)
    assert line == f"{split / 'mix'}: no such folder"


STAND_IN = """\
#!{python}
# What sph2pipe -p -f wav does, for sphere files that are not compressed.
import sys
import soundfile
*options, source, target = sys.argv[1:]
assert options == ["-p", "-f", "wav"], options
samples, rate = soundfile.read(source, dtype="int16")
soundfile.write(target, samples, rate, subtype="PCM_16", format="WAV")
"""


def test_sphere_files_of_the_discs_are_converted(mini, tmp_path, monkeypatch):
    expected = contents(mini.prepare())
    made = contents(mini.recipe / mini.made)
    discs = {"si_tr_s": ("11-1.1", "11-2.1", "11-3.1"), "si_dt_05": ("11-6.1",) * 2}
    for path in sorted(mini.wsj0.glob("wsj0/*/*/*.wav")):
        *_, name, speaker, _ = path.parts
        disc = discs.get(name, ("11-14.1",) * 2)[SETS[name].index(speaker)]
        sphere = tmp_path / "discs" / disc / "wsj0" / name / speaker / f"{path.stem}.wv1"
        sphere.parent.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(sphere, samples, rate, format="NIST", subtype="PCM_16")
    shutil.rmtree(mini.recipe)
    mini.recipe.mkdir()
    mini.wsj0 = tmp_path / "discs"
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    (line,) = complaint(mini)
    assert (
        "holds sphere files (.wv1), but sph2pipe, which converts them, is not in the PATH" in line
    )
    program = programs / "sph2pipe"
    program.write_text("#!/bin/sh\necho no such disc >&2\nexit 3\n")
    program.chmod(0o755)
    lines = complaint(mini)
    assert lines[0].endswith(".wv1: sph2pipe failed: no such disc")
    program.write_text(STAND_IN.format(python=sys.executable))
    assert contents(mini.prepare()) == expected
    assert contents(mini.recipe / mini.made) == made
    assert not list(mini.recipe.rglob(".aside*"))
    # converted once and for all
    program.unlink()
    assert contents(mini.prepare()) == expected
    (mini.wsj0 / "11-6.1/wsj0/si_dt_05/22g/22ga0110.wv1").unlink()
    (mini.recipe / "downloads/wsj0/si_dt_05/22g/22ga0110.wav").unlink()
    with pytest.raises(TisdissError, match=r"lacks si_dt_05/22g/22ga0110.wv1 on all discs"):
        mini.prepare()


def plant_names(root: Path, *paths: str) -> None:
    """Files of which only the names matter."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


WANTED = {
    "01xo031a": "wsj0/si_tr_s/01x/01xo031a.wav",
    "40na010x": "wsj0/si_tr_s/40n/40na010x.wav",
    "440c020a": "wsj0/si_et_05/440/440c020a.wav",
}


@pytest.mark.parametrize(
    "paths",
    [
        ["WSJ0/SI_TR_S/01X/01XO031A.WAV", "WSJ0/SI_TR_S/40N/40NA010X.WAV"],
        ["corpora/wsj0_wav/wsj0/si_tr_s/01x/01xo031a.wav"],
        ["si_tr_s/01x/01xo031a.wav", "11-1.1/wsj0/si_tr_s/01x/01xo031a.wv1"],
    ],
)
def test_wav_files_of_wsj0_are_found_in_any_case_and_depth(tmp_path, paths):
    plant_names(tmp_path, *paths)
    files = find_utterances(tmp_path, WANTED, tmp_path / "kept", nj=1)
    assert files["01xo031a"] == tmp_path / paths[0]
    # a missing file is named as it would be next to the others
    home = (tmp_path / paths[0]).parents[1]
    assert files["40na010x"] in (home / "40n/40na010x.wav", home / "40N/40NA010X.WAV")
    assert files["440c020a"] == tmp_path / "440/440c020a.wav"
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("above", ["", "csr_1", "LDC93S6A/csr_1"])
def test_the_discs_are_found_below_any_parent_and_in_upper_case(tmp_path, above):
    discs = {
        "11-1.1/wsj0/si_tr_s/01x/01xo031a.wv1": "si_tr_s/01x/01xo031a.wv1",
        "11-2.1/WSJ0/SI_TR_S/40N/40NA010X.WV1;1": "si_tr_s/40n/40na010x.wv1",
        "11-14.1/WSJ0/SI_ET_05/440/440C020A.WV1": "si_et_05/440/440c020a.wv1",
    }
    noise = ("11-1.1/wsj0/si_tr_s/01x/01xo031a.wv2", "11-1.1/wsj0/doc/readme.txt")
    plant_names(tmp_path / above, *discs, *noise)
    folders = find_sets(tmp_path, {"si_tr_s", "si_et_05"})
    found = index_files(path for paths in folders.values() for path in paths)
    expected = {Path(name): tmp_path / above / path for path, name in discs.items()}
    assert found == expected


def test_a_folder_without_wsj0_is_told_what_to_give(tmp_path):
    plant_names(tmp_path, "a/b/c/d/e/wsj0/si_tr_s/01x/01xo031a.wav", "si_tr_s/01x.flac")
    with pytest.raises(
        TisdissError,
        match=rf"holds no WSJ0: neither wsj0/si_et_05/\*/\*.wav .*5 levels down at most "
        rf"\(found {tmp_path}/si_tr_s, without such files\): give the folder above wsj0 or",
    ):
        find_utterances(tmp_path, WANTED, tmp_path / "kept", nj=1)


@pytest.mark.parametrize("depth", [2, 3])
def test_a_tree_of_another_rate_is_refused_at_once(mini, depth):
    mini.prepare()
    root = mini.recipe.joinpath("downloads", *Path("2speakers/wav8k/min").parts[:depth])
    shutil.rmtree(mini.recipe / "data")
    (line,) = complaint(mini, "--corpus", root, "--fs", "16k")
    assert line.endswith(".wav: is at 8000 Hz, not 16000 Hz")


def test_single_utterances_for_dynamic_mixing_have_one_level(mini):
    mini.write_levels()  # deliberately not those of the utterances
    data = mini.prepare("--dynamic_mixing")
    assert sorted(path.name for path in data.iterdir()) == [
        "cv_min_8k",
        "tr_single_min_8k",
        "tt_min_8k",
    ]
    tables = read_data_dir(data / "tr_single_min_8k", ["wav.scp", "utt2spk"])
    assert set(tables["utt2spk"].values()) == set(SETS["si_tr_s"])
    assert not (mini.recipe / mini.made / "tr").exists()
    powers = read_scp(mini.levels / "activlev_si_tr_s.txt")
    for key, path in tables["wav.scp"].items():
        utterance = key[4:]
        source = resample_poly(mini.source(utterance), 1, 2)
        scaled = source / float(powers[utterance]) ** 0.5 * 10 ** (-26 / 20)
        made = soundfile.read(mini.recipe / path, dtype="int16")[0]
        np.testing.assert_array_equal(made, np.round(32768 * scaled).astype(np.int16))


def test_single_utterances_of_a_tree_are_the_longest_pieces(mini, tmp_path):
    mini.prepare()
    tree = tmp_path / "tree"
    shutil.move(mini.recipe / "downloads", tree)
    shutil.rmtree(mini.recipe / "data")
    mini.prepare("--corpus", tree, "--dynamic_mixing")
    singles = read_scp(mini.recipe / "data/tr_single_min_8k/wav.scp")
    longest: dict[str, int] = {}
    for path in (tree / "2speakers/wav8k/min/tr/s1").iterdir():
        first, _, second, _ = path.stem.split("_")
        for utterance in (first, second):
            frames = soundfile.info(path).frames
            longest[utterance] = max(frames, longest.get(utterance, 0))
    assert {key[4:] for key in singles} == set(longest)
    for key, path in singles.items():
        samples, _ = soundfile.read(mini.recipe / path)
        assert len(samples) == longest[key[4:]]
        level_db = 10 * np.log10(active_level(samples, 8000).power)
        assert level_db == pytest.approx(-26, abs=0.01)


def test_single_utterances_of_a_padded_tree_are_without_the_padding(mini):
    mini.prepare("--min_or_max", "max")
    shutil.rmtree(mini.recipe / "data")
    tree = mini.recipe / "downloads"
    padded = max((tree / "2speakers/wav8k/max/tr/s1").iterdir(), key=trailing_zeros)
    assert trailing_zeros(padded) > 200
    options = ("--corpus", tree, "--dynamic_mixing", "--min_or_max", "max")
    for _ in range(2):
        mini.prepare(*options)
        singles = read_scp(mini.recipe / "data/tr_single_max_8k/wav.scp")
        times = [Path(path).stat().st_mtime_ns for path in singles.values()]
    mini.prepare(*options)  # they are finished
    assert times == [Path(path).stat().st_mtime_ns for path in singles.values()]
    for key, path in singles.items():
        spoken = len(np.trim_zeros(mini.source(key[4:]), "b"))
        # except for samples that round to zero
        assert abs(soundfile.info(path).frames - spoken / 2) < 20
        assert trailing_zeros(Path(path)) < 20


def write_transcripts(mini: Mini) -> dict[str, str]:
    """Files of transcripts with their markup, a folder for each speaker, in upper case.

    Returns:
        Utterance -> its words.
    """
    said = {}
    for folder in sorted((mini.wsj0 / "wsj0").glob("*/*")):
        lines = ""
        for path in sorted(folder.glob("*.wav")):
            said[path.stem] = f"mr. {folder.name} said comma it's ninety percent"
            marked = f"MR. {folder.name} [LOUD_BREATH] *SAID* ,COMMA . <IT'S> NINE:TY %PERCENT~"
            lines += f"{marked} ({path.stem.upper()})\n"
        dots = mini.wsj0 / "11-4.1/WSJ0/TRANSCRP/DOTS" / folder.parent.name / folder.name
        dots.mkdir(parents=True)
        (dots / f"{folder.name}A0100.DOT;1").write_text(lines)
    return said


def test_transcripts_of_the_discs_stand_beside_the_mixtures(mini):
    said = write_transcripts(mini)
    data = mini.prepare("--transcripts", "--min_or_max", "max")
    for split in ("tr", "cv", "tt"):
        folder = data / f"{split}_max_8k"
        texts = [read_scp(folder / f"text_spk{number}") for number in (1, 2)]
        for key, path in read_scp(folder / "wav.scp").items():
            first, _, second, _ = Path(path).stem.split("_")
            assert [text[key] for text in texts] == [said[first], said[second]]
    for split in ("tr", "cv"):
        singles = data / f"{split}_singles_max_8k"
        texts, speakers = read_scp(singles / "text"), read_scp(singles / "utt2spk")
        for key, path in read_scp(singles / "wav.scp").items():
            assert texts[key] == said[key[-len("01aa010x") :]] and speakers[key] == key[:3]
            assert trailing_zeros(mini.recipe / path) < 20


def test_a_folder_without_transcripts_is_told_what_to_give(mini):
    (told,) = complaint(mini, "--transcripts", "--min_or_max", "max")
    assert "holds no transcripts (*.dot): give the folder above WSJ0's discs" in told
    (told,) = complaint(mini, "--transcripts")
    assert told.startswith("--transcripts needs --min_or_max max")


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ("The \\(LEFT-PAREN PEO:PLE \\)RIGHT-PAREN", "the left-paren people right-paren"),
        ('"DOUBLE-QUOTE [cross/] GOOD-BYE !EXCLAMATION', "double-quote good-bye exclamation"),
        ("A. B. . C. --DASH 'TWAS", "a. b. c. dash 'twas"),
        ("[tongue_click] .", ""),
    ],
)
def test_markup_of_transcripts_is_removed(marked, words):
    assert plain_words(marked) == words


def trailing_zeros(path: Path) -> int:
    samples = soundfile.read(path, dtype="int16")[0]
    return len(samples) - len(np.trim_zeros(samples, "b"))


def data_sh(mini: Mini, *options: str, limit: int | None = None) -> subprocess.CompletedProcess:
    """Run local/data.sh; ``limit`` is the largest size of a file, which simulates a full disk."""

    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [LOCAL / "data.sh", "--allow_subset", *options],
        cwd=mini.recipe,
        env=os.environ
        | {"PYTHON": sys.executable, "WSJ0": str(mini.wsj0), "WSJ0_MIX_LISTS": str(mini.lists)},
        preexec_fn=restrict if limit else None,
        capture_output=True,
        text=True,
    )


@pytest.mark.promise("disk-full")
@pytest.mark.parametrize("nj", ["1", "2"])
def test_a_full_disk_is_told_once_and_the_run_can_be_repeated(mini, nj):
    mini.write_levels()
    done = data_sh(mini, "--nj", nj, limit=20000)  # the longer mixtures are larger
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("local/data.sh: ")]
    (line,) = told
    assert "cannot be written: File too large; correct that and run again" in line
    assert "Traceback" not in done.stderr
    assert not list(mini.recipe.rglob(".aside*")) and not (mini.recipe / "data").exists()
    done = data_sh(mini, "--nj", "1", limit=300)  # a list is too large
    assert done.returncode == 1
    path = mini.recipe / "downloads/levels.txt"
    assert f"local/data.sh: [Errno 27] File too large: '{path}'" in done.stderr.splitlines()
    done = data_sh(mini, "--nj", "1")
    assert done.returncode == 0, done.stderr
    assert "data/tr_min_8k: 6 utterances, 0.00 hours" in done.stdout


def test_help_names_every_option(mini):
    done = data_sh(mini, "--help")
    for word in ("--corpus", "--wsj0", "--lists", "--num_spk", "--min_or_max", "--dynamic_mixing"):
        assert done.returncode == 0 and word in done.stdout


@dataclass
class Run:
    """A copy of the recipe in a tree like the repository's, with a tiny configuration."""

    folder: Path
    mini: Mini

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run it on the small corpus."""
        return self.recognise("--ngpu", "0", "--nj", "1", "--inference_nj", "1", *options)

    def recognise(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the recognition of it, which has fewer options."""
        variables = {"WSJ0": str(self.mini.wsj0), "WSJ0_MIX_LISTS": str(self.mini.lists)}
        words = ["--python", sys.executable, "--local_data_opts", "--allow_subset"]
        return subprocess.run(
            [self.folder / "run.sh", *words, *options],
            env={"OMP_NUM_THREADS": "1"} | os.environ | variables,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def recipe(mini: Mini, tmp_path: Path) -> Run:
    folder = copy_recipe("wsj0_2mix", tmp_path)
    (folder / "tiny.yaml").write_text(TINY_CONFIG)
    return Run(folder, mini)


@pytest.mark.slow
def test_every_stage_runs_and_results_stand_beside_the_published_ones(recipe):
    done = recipe.run("--enh_config", "tiny.yaml", "--n_re", "1 2")
    assert done.returncode == 0, done.stderr
    exp = recipe.folder / "exp/enh_tiny_raw"
    text = (exp / "RESULTS.md").read_text()
    assert "## tt_min_8k\n\n3 mixtures." in text
    _, _, section = text.partition("### Comparison with published results\n\n")
    lines = section.splitlines()
    assert lines[2].startswith("|**enh_tiny_raw**|1|0.0|") and lines[2].endswith("|this run|")
    scores = "99.21|25.75|25.47|38.13|25.20|25.3|25.2"
    source = "TISDiSS (arXiv 2509.15666) and its authors' RESULTS.md"
    assert f"|sep1x2-re1x6|8|8.0|{scores}|{source}|" in lines
    assert list(exp.glob("*.zip"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_speakers_are_recognised(recipe):
    write_transcripts(recipe.mini)
    done = recipe.run("--enh_config", "tiny.yaml", "--stop_stage", "6")
    assert done.returncode == 0, done.stderr
    root = recipe.folder.parents[2]
    other = Run(copy_recipe("wsj0_2mix", root, "enh_asr1"), recipe.mini)
    done = other.recognise("--separation", "../enh1/exp/enh_tiny_raw", *tiny_recognition())
    assert done.returncode == 0, done.stderr
    exp = other.folder / "exp/enh_asr_train_enh_asr_tiny"
    assert "| joint, N_re 2 |" in (exp / "RESULTS.md").read_text()
    assert (exp / "packed/meta.yaml").is_file()


def test_dynamic_mixing_trains_on_other_mixtures_in_every_epoch(recipe, monkeypatch):
    mixing = ("--enh_config", "tiny.yaml", "--dynamic_mixing", "true")
    mixing += ("--speed_perturb_factors", "1.0 0.9")
    done = recipe.run(*mixing, "--n_re", "2", "--stop_stage", "8", "--enh_args", "--max_epoch 1")
    assert done.returncode == 0, done.stderr
    exp = recipe.folder / "exp/enh_tiny_raw_max_epoch1_sp_dm"
    assert "|**enh_tiny_raw_max_epoch1_sp_dm**|2|" in (exp / "RESULTS.md").read_text()

    from espnet2.tasks.enh import EnhancementTask
    from espnet2.train.distributed_utils import DistributedOption

    monkeypatch.chdir(recipe.folder)
    config = yaml.safe_load((exp / "config.yaml").read_text())
    args = Namespace(**config | {"num_workers": 0})
    factory = EnhancementTask.build_iter_factory(args, DistributedOption(), mode="train")
    epochs = [list(factory.build_iter(epoch, shuffle=False)) for epoch in (1, 2)]
    seconds = []
    for epoch in epochs:
        for _, batch in epoch:
            assert batch["speech_mix"].shape[1] == 8000  # a segment
            refs = batch["speech_ref1"] + batch["speech_ref2"]
            np.testing.assert_allclose(batch["speech_mix"], refs, atol=1e-6)
            assert not np.allclose(batch["speech_ref1"], batch["speech_ref2"])
        seconds.append(np.concatenate([batch["speech_ref2"].numpy() for _, batch in epoch]))
    assert [keys for keys, _ in epochs[0]] == [keys for keys, _ in epochs[1]]
    assert not np.allclose(*seconds)
    names = {name for keys, _ in epochs[0] for name in keys}
    assert {"40n_40na0110", "sp0.9-40n_40na0110"} <= names

    # ESPnet's own inference continues from there, and ours without the training data
    stages = (*mixing, "--enh_args", "--max_epoch 1", "--stage", "7", "--stop_stage", "7")
    done = recipe.run(*stages, "--n_re", "")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(recipe.folder / "dump/raw/tr_single_min_8k_sp")
    done = recipe.run(*stages, "--n_re", "1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num_spk", "4"], "run.sh: --num_spk 4: must be 2 or 3"),
        (["--fs", "44k"], "run.sh: --fs 44k: must be 8k or 16k"),
        (["--min_or_max=mean"], "run.sh: --min_or_max mean: must be min or max"),
        (["--fs"], "run.sh: --fs lacks its value"),
        (["--enh_args"], "--enh_args lacks its value"),
        (["--stage", "--fs", "8k"], "--stage lacks its value (next is --fs)"),
        (["--speakers", "2"], "unknown option --speakers (see --help)"),
        (["--"], "unexpected argument '--'; options are --name value (see --help)"),
    ],
)
def test_wrong_options_are_one_line(recipe, options, message):
    done = recipe.run(*options)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1 and done.stderr.endswith(f"{message}\n")
    assert not (recipe.folder / "data").exists()


@pytest.mark.slow
def test_other_versions_bring_their_own_settings(recipe):
    # a tiny model instead of the published one
    root = recipe.folder.parents[2]
    (root / "conf").unlink()
    (root / "conf").mkdir()
    (root / "conf/train_sep1x2-re1x6.yaml").write_text(TINY_CONFIG)
    done = recipe.run("--num_spk", "3", "--fs", "16000", "--stop_stage", "6")
    assert done.returncode == 0, done.stderr
    assert (recipe.folder / "dump/raw/tr_3spk_min_16k/spk3.scp").is_file()
    exp = recipe.folder / "exp/3spk_min_16k"
    assert (exp / "enh_stats_16k/valid/speech_ref3_shape").is_file()
    config = (exp / "enh_train_sep1x2-re1x6_raw/config.yaml").read_text()
    for setting in ("num_spk: 3", "sample_rate: 16000", "n_fft: 256", "speech_segment: 64000"):
        assert setting in config
    assert yaml.safe_load(config)["fold_length"] == [160000] * 4  # ten seconds, for each list
    # a configuration given by the user is used unchanged
    options = ("--num_spk", "3", "--fs", "16k", "--stage", "6", "--stop_stage", "6")
    done = recipe.run(*options, "--enh_config", "tiny.yaml")
    assert done.returncode == 1
    assert "the model is for 8000 Hz, but the data has 16000 Hz" in done.stderr
