"""The librimix recipe on small synthetic copies of LibriSpeech, WHAM!'s noise and the metadata.

Axis letters: n sample, c channel.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipe_folder import (
    TINY_CONFIG,
    copy_recipe,
    files_of_runs,
    prepare_here,
    read_data_dir,
    tiny_recognition,
)
from scipy.signal import resample_poly

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.librimix.metadata import read_metadata

RATE = 16000
SUBSETS = {"train-360": "train-clean-360", "dev": "dev-clean", "test": "test-clean"}
COUNTS = {"train-360": 5, "dev": 2, "test": 2}
# Not in byte order of their names, which differs from the order of numbers; 14 < 140.
SPEAKERS = {"train-360": [14, 140, 9, 2002], "dev": [31, 3, 300], "test": [4, 44, 17]}
SUBSET = ("--allow_subset",)


def write_utterance(path: Path, seed: int) -> None:
    """A coloured noise of 1.1 to 2.6 s that rises and falls; 16 kHz, 16-bit flac."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(1.1 * RATE, 2.6 * RATE))
    noise = np.convolve(rng.standard_normal(length), [0.5, 0.7, 0.3], "same")
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * 3 * np.arange(length) / RATE + seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * noise * envelope, RATE, subtype="PCM_16")


def write_noise(path: Path, seed: int, seconds: float) -> None:
    """A noise with two different channels."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * rng.standard_normal((int(seconds * RATE), 2))
    soundfile.write(path, samples, RATE, subtype="PCM_16")


@dataclass(frozen=True)
class Corpus:
    """LibriSpeech, wham_noise and the metadata below one folder (whose name holds a space)."""

    folder: Path

    @property
    def speech(self) -> Path:
        return self.folder / "LibriSpeech"

    @property
    def noise(self) -> Path:
        return self.folder / "wham_noise"

    def metadata(self, name: str, num_spk: int = 2) -> Path:
        tables = self.folder / "metadata" / f"Libri{num_spk}Mix"
        return tables / f"libri{num_spk}mix_{SUBSETS[name]}.csv"

    def rows(self, name: str, num_spk: int = 2) -> list[dict[str, str]]:
        with self.metadata(name, num_spk).open(newline="") as file:
            return list(csv.DictReader(file))

    def utterance(self, name: str, index: int = 0, source: int = 1) -> Path:
        """The file of a source of a mixture."""
        return self.speech / self.rows(name)[index][f"source_{source}_path"]

    @property
    def variables(self) -> dict[str, str]:
        return {
            "LIBRISPEECH": str(self.folder),
            "WHAM_NOISE": str(self.noise),
            "LIBRIMIX_METADATA": str(self.folder / "metadata"),
        }


def write_metadata(corpus: Corpus, num_spk: int) -> None:
    """Tables in the order of no name; the first mixture of a set is too loud for 16 bits."""
    for offset, (name, speakers) in enumerate(SPEAKERS.items()):
        rng = np.random.default_rng(offset)
        part = {"train-360": "tr", "dev": "cv", "test": "tt"}[name]
        table = corpus.metadata(name, num_spk)
        table.parent.mkdir(parents=True, exist_ok=True)
        header = ["mixture_ID"]
        for number in range(num_spk):
            header += [f"source_{number + 1}_path", f"source_{number + 1}_gain"]
        lines = [",".join([*header, "noise_path", "noise_gain"])]
        for index in range(COUNTS[name]):
            chosen = [speakers[(index + k) % len(speakers)] for k in range(num_spk)]
            utterances = [f"{spk}-{spk + 1}-{index:04d}" for spk in chosen]
            cells = ["_".join(utterances)]
            for spk, utterance in zip(chosen, utterances, strict=True):
                path = f"{SUBSETS[name]}/{spk}/{spk + 1}/{utterance}.flac"
                gain = 4.0 if index == 0 else rng.uniform(0.2, 1.1)
                cells += [path, repr(float(gain))]
                if not (corpus.speech / path).is_file():
                    write_utterance(corpus.speech / path, 1000 * spk + index)
            cells += [f"{part}/{index}a_0.7_{index}b_-0.7.wav", repr(rng.uniform(0.5, 1.2))]
            # every third noise is short: it has to be extended, twice for the longer utterances
            seconds = 1.05 if index % 3 == 0 else 3.0
            write_noise(corpus.noise / cells[-2], 100 * offset + index, seconds)
            lines.append(",".join(cells))
        table.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def shared_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    corpus = Corpus(tmp_path_factory.mktemp("my corpora") / "a b")
    for num_spk in (2, 3):
        write_metadata(corpus, num_spk)
    return corpus


@pytest.fixture
def corpus(shared_corpus: Corpus, tmp_path: Path) -> Corpus:
    """A separate copy of the corpus, to be damaged."""
    shutil.copytree(shared_corpus.folder, tmp_path / "own corpora")
    return Corpus(tmp_path / "own corpora")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return copy_recipe("librimix", tmp_path / "repository")


def environment(variables: dict[str, str]) -> dict[str, str]:
    """The environment with no other corpus locations than these."""
    names = {"LIBRIMIX", "LIBRISPEECH", "LIBRIMIX_METADATA", "WHAM_NOISE"}
    clean = {name: value for name, value in os.environ.items() if name not in names}
    return clean | {"OMP_NUM_THREADS": "1", "PYTHON": sys.executable} | variables


def start(
    recipe: Path, command: list[str], variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=recipe, env=environment(variables), capture_output=True, text=True
    )


def prepare(
    recipe: Path, variables: dict[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    """Prepare the corpus with one job."""
    return prepare_here("librimix", recipe, ["--nj", "1", *options], environment(variables))


def prepared(recipe: Path, variables: dict[str, str], *options: str) -> str:
    """Prepare the corpus, which has to succeed; return what was printed."""
    done = prepare(recipe, variables, *SUBSET, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def problem(done: subprocess.CompletedProcess[str]) -> str:
    """The lines of a failure, which must not have a traceback."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("local/data.sh: ")]
    assert lines, done.stderr
    return "\n".join(line.removeprefix("local/data.sh: ") for line in lines)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in files_of_runs(folder)}


# --- what is made -----------------------------------------------------------------------------


def extended(noise: np.ndarray, length: int) -> np.ndarray:
    """Copies of a noise (n,), each half a second (and a sample) into the one before."""
    window = np.hanning(RATE + 1)
    overlap = RATE // 2 + 1
    hop = len(noise) - overlap
    copies = 1
    while hop * copies + overlap < length:
        copies += 1
    total = np.zeros(hop * copies + overlap)
    for index in range(copies):
        weight = np.ones(len(noise))
        if index > 0:
            weight[:overlap] = window[:overlap]
        if index < copies - 1:
            weight[-overlap:] = window[-overlap:]
        total[index * hop : index * hop + len(noise)] += weight * noise
    return total[:length]


def formula(
    corpus: Corpus, row: dict[str, str], num_spk: int, rate: int, version: str
) -> dict[str, np.ndarray]:
    """The signals (n,) of a mixture, step by step, by the names of their folders."""
    signals = {}
    for number in range(1, num_spk + 1):
        path = corpus.speech / row[f"source_{number}_path"]
        signals[f"s{number}"], _ = soundfile.read(path, dtype="float32")
    longest = max(len(source) for source in signals.values())
    noise, _ = soundfile.read(corpus.noise / row["noise_path"], dtype="float32")
    noise = noise[:longest, 0]
    signals["noise"] = extended(noise, longest) if len(noise) < longest else noise
    for name in signals:
        column = "noise_gain" if name == "noise" else f"source_{name[1]}_gain"
        signals[name] = resample_poly(signals[name] * float(row[column]), rate, RATE)
    lengths = [len(samples) for samples in signals.values()]
    for name, samples in signals.items():
        if version == "min":
            signals[name] = samples[: min(lengths)]
        else:
            signals[name] = np.concatenate([samples, np.zeros(max(lengths) - len(samples), "f4")])
    clean = signals["s1"] + signals["s2"]
    if num_spk == 3:
        clean = clean + signals["s3"]
    noise = signals["noise"]
    single = (signals["s1"] + noise).astype(np.float32)
    return signals | {
        "mix_clean": clean,
        "mix_both": (clean + noise).astype(np.float32),
        "mix_single": single,
    }


def as_written(path: Path, samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples converted to 16 bits as by soundfile, which the public scripts use."""
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return soundfile.read(path, dtype="int16")[0]


@pytest.mark.parametrize(
    ("condition", "fs", "version", "num_spk"),
    [
        ("mix_clean", "8k", "min", 2),
        ("mix_both", "8k", "max", 2),
        ("mix_both", "16k", "min", 2),
        ("mix_single", "8k", "min", 2),
        ("mix_clean", "16k", "max", 3),
        ("mix_both", "8k", "min", 3),
    ],
)
def test_mixtures_equal_the_formula_to_the_bit(
    shared_corpus, recipe, tmp_path, condition, fs, version, num_spk
):
    variables = shared_corpus.variables
    if condition == "mix_clean":  # needs no noise
        del variables["WHAM_NOISE"]
    options = ["--condition", condition, "--fs", fs, "--min_or_max", version]
    prepared(recipe, variables, *options, "--num_spk", str(num_spk))
    rate = int(fs.removesuffix("k")) * 1000
    tree = recipe / f"downloads/Libri{num_spk}Mix/wav{fs}/{version}"
    heard = 1 if condition == "mix_single" else num_spk
    folders = [condition, *(f"s{number}" for number in range(1, heard + 1))]
    folders += ["noise"] * (condition != "mix_clean")
    for name in COUNTS:
        assert sorted(path.name for path in (tree / name).iterdir()) == sorted(folders)
        loudest = 0
        for row in shared_corpus.rows(name, num_spk):
            signals = formula(shared_corpus, row, num_spk, rate, version)
            for folder in folders:
                path = tree / name / folder / f"{row['mixture_ID']}.wav"
                made, made_rate = soundfile.read(path, dtype="int16")
                assert made_rate == rate and soundfile.info(path).subtype == "PCM_16"
                expected = as_written(tmp_path / "expected.wav", signals[folder], rate)
                np.testing.assert_array_equal(made, expected)
                # which is rounding down, and saturation
                steps = np.clip(signals[folder].astype(float) * 2**15, -(2**15), 2**15 - 1)
                assert (steps - made).min() > -0.001 and (steps - made).max() < 1
                loudest = max(loudest, made.max())
        assert loudest == 32767  # the formula saturates, and so did we


def test_data_directories_and_tables_tell_the_files(shared_corpus, recipe):
    printed = prepared(recipe, shared_corpus.variables, "--condition", "mix_both", "--suffix", "_x")
    sets = recipe / "downloads/Libri2Mix/wav8k/min"
    for name in COUNTS:
        rows = {row["mixture_ID"]: row for row in shared_corpus.rows(name)}
        lists = {"wav.scp": "mix_both", "spk1.scp": "s1", "spk2.scp": "s2", "noise1.scp": "noise"}
        tables = read_data_dir(recipe / "data" / f"{name}_x", [*lists, "utt2spk"])
        keys = list(tables["wav.scp"])
        assert keys == sorted(keys, key=str.encode)
        for key in keys:
            first, second, mixture = key.split("_", maxsplit=2)
            assert mixture.split("-")[0] == first and f"_{second}-" in mixture
            assert tables["utt2spk"][key] == f"{first}_{second}"
            for list_name, folder in lists.items():
                assert tables[list_name][key] == str(sets / name / folder / f"{mixture}.wav")
        with (sets / f"metadata/mixture_{name}_mix_both.csv").open() as file:
            table = list(csv.reader(file))
        columns = "mixture_ID mixture_path source_1_path source_2_path noise_path length"
        assert table[0] == columns.split()
        assert [line[0] for line in table[1:]] == list(rows)
        for mixture, *paths, length in table[1:]:
            assert {Path(path).name for path in paths} == {f"{mixture}.wav"}
            assert [Path(path).parent.name for path in paths] == list(lists.values())
            assert all(soundfile.info(path).frames == int(length) for path in paths)
        assert f"data/{name}_x: {COUNTS[name]} utterances, 0.00 hours" in printed


def test_two_processes_make_the_same_bits_as_one(shared_corpus, tmp_path):
    made = []
    for nj in ("1", "2"):
        recipe = copy_recipe("librimix", tmp_path / nj)
        prepared(recipe, shared_corpus.variables, "--condition", "mix_both", "--nj", nj)
        made.append(contents(recipe / "downloads/Libri2Mix/wav8k/min"))
    tables = [{name for name in each if name.endswith(".csv")} for each in made]
    assert tables[0] == tables[1]
    waves = [{name: each[name] for name in each.keys() - tables[0]} for each in made]
    assert waves[0] == waves[1] and len(waves[0]) == 4 * sum(COUNTS.values())


def test_a_noise_at_another_speed_is_made_from_its_original(corpus, recipe):
    seconds = np.arange(4 * RATE) / RATE
    original = corpus.noise / "tr/tone.wav"
    soundfile.write(original, 0.3 * np.sin(2 * np.pi * 500 * seconds), RATE)
    table = corpus.metadata("train-360")
    lines = table.read_text().splitlines()
    for index, speed in ((2, "08"), (3, "12")):
        cells = lines[index].split(",")
        lines[index] = ",".join([*cells[:-2], f"tr/tonesp{speed}.wav", "1.0"])
    table.write_text("\n".join(lines) + "\n")
    options = ("--condition", "mix_single", "--fs", "16k")
    prepared(recipe, corpus.variables, *options)
    for row, hertz in zip(corpus.rows("train-360")[1:3], (400, 600), strict=True):
        folder = recipe / "downloads/Libri2Mix/wav16k/min/train-360/noise"
        samples, _ = soundfile.read(folder / f"{row['mixture_ID']}.wav")
        spectrum = np.abs(np.fft.rfft(samples[:RATE]))
        assert spectrum.argmax() == hertz
    # existing files are used unchanged
    soundfile.write(corpus.noise / "tr/tonesp08.wav", np.zeros(4 * RATE), RATE)
    shutil.rmtree(recipe / "downloads")
    prepared(recipe, corpus.variables, *options)
    name = f"{corpus.rows('train-360')[1]['mixture_ID']}.wav"
    assert not soundfile.read(folder / name)[0].any()


# --- an existing tree -------------------------------------------------------------------------


@pytest.fixture
def tree(shared_corpus: Corpus, tmp_path: Path) -> Path:
    """A tree whose tables, made on another machine, name files that are not here."""
    recipe = copy_recipe("librimix", tmp_path / "another machine")
    prepared(recipe, shared_corpus.variables, "--condition", "mix_both")
    tree = tmp_path / "my tree"
    (recipe / "downloads").rename(tree)
    for table in tree.glob("Libri2Mix/wav8k/min/metadata/*.csv"):
        head, *lines = table.read_text().replace(str(recipe), "/gone").splitlines()
        assert all("/gone/" in line for line in lines)
        table.write_text("\n".join([head, *(f"{line}.0" for line in lines)]) + "\n")
    return tree


@pytest.mark.parametrize("inner", ["", "Libri2Mix"])
def test_a_tree_that_was_made_elsewhere_is_used_as_it_is(tree, recipe, inner):
    before = contents(tree)
    prepared(recipe, {"LIBRIMIX": str(tree / inner)}, "--condition", "mix_both")
    assert contents(tree) == before
    assert not (recipe / "downloads").exists()
    for name, count in COUNTS.items():
        tables = read_data_dir(recipe / "data" / name, ["wav.scp", "spk1.scp", "noise1.scp"])
        assert len(tables["wav.scp"]) == count
        for table in tables.values():
            assert all(Path(path).is_relative_to(tree) for path in table.values())


def test_a_tree_needs_no_tables(tree, recipe):
    prepared(recipe, {"LIBRIMIX": str(tree)}, "--condition", "mix_both")
    with_tables = contents(recipe / "data")
    shutil.rmtree(tree / "Libri2Mix/wav8k/min/metadata")
    prepared(recipe, {"LIBRIMIX": str(tree)}, "--condition", "mix_both")
    assert contents(recipe / "data") == with_tables


def test_what_a_tree_lacks_is_named(tree, recipe):
    done = prepare(recipe, {"LIBRIMIX": str(tree)}, "--fs", "16k", *SUBSET)
    advice = "; without LIBRIMIX the mixtures are made from LIBRISPEECH"
    assert problem(done) == f"{tree}: has no Libri2Mix/wav16k/min/test/mix_clean{advice}"
    variables, both = {"LIBRIMIX": str(tree)}, ("--condition", "mix_both")
    assert "dev: 2 mixtures, but the corpus has 3000" in problem(prepare(recipe, variables, *both))
    lost = sorted((tree / "Libri2Mix/wav8k/min/test/s2").iterdir())[1]
    content = lost.read_bytes()
    lost.unlink()
    told = problem(prepare(recipe, variables, *both, *SUBSET))
    assert told.startswith(f"{lost}: no such file; check its name\n")
    lost.write_bytes(content[:3000])
    told = problem(prepare(recipe, variables, *both, *SUBSET))
    assert told.startswith(f"{lost}: truncated: only 3000 of ")
    assert not (recipe / "data").exists()


# --- what can be missing or wrong -------------------------------------------------------------


def _remove(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def _garble(path: Path) -> None:
    path.write_bytes(b"no audio" * 100)


def _slow_down(path: Path) -> None:
    samples, _ = soundfile.read(path)
    soundfile.write(path, samples, 8000)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_remove, "no such file"),
        (_cut, "truncated: holds no complete frame"),
        (_garble, "not a readable audio file"),
        (_slow_down, "is at 8000 Hz, not 16000 Hz"),
    ],
)
def test_an_unusable_utterance_is_named_and_the_rest_is_done(corpus, recipe, damage, complaint):
    damaged = corpus.utterance("train-360", 2)
    whole = damaged.read_bytes()
    damage(damaged)
    told = problem(prepare(recipe, corpus.variables, *SUBSET)).splitlines()
    assert told[0].startswith(f"{damaged}: {complaint}")
    assert told[1:] == [
        "mix train-360: 1 of 5 failed, the others are done; correct these and run again"
    ]
    assert not (recipe / "data").exists()
    made = recipe / "downloads/Libri2Mix/wav8k/min/train-360/mix_clean"
    times = {path: path.stat().st_mtime_ns for path in made.iterdir()}
    assert len(times) == 4
    damaged.write_bytes(whole)
    prepared(recipe, corpus.variables)
    assert len(read_scp(recipe / "data/train-360/wav.scp")) == 5
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in times.items())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda line: line.rsplit(",", 1)[0], "not a value for each column of the first line"),
        (lambda line: f"{line},1", "not a value for each column of the first line"),
        (lambda line: line.replace(".flac,", ".flac,x", 1), "is not a positive number"),
        (lambda line: line.replace(".flac,", ".flac,-", 1), "is not a positive number"),
        (lambda line: f"1-1-0000_{line}", "mixture '1-1-0000_3-4-0001_300-301-0001' is of the"),
        (lambda line: line.replace("dev-clean/3/", "dev-clean/7/"), "is not an utterance of"),
        (lambda line: line.replace("dev-clean/", "../dev-clean/"), "is not an utterance of"),
        (lambda line: line.replace("cv/", "../cv/"), "is not a noise of WHAM!"),
    ],
)
def test_a_malformed_row_is_named_with_its_line(corpus, change, complaint):
    table = corpus.metadata("dev")
    head, first, second = table.read_text().splitlines()
    assert len(read_metadata(table, 2)) == 2
    table.write_text("\n".join([head, first, change(second)]) + "\n")
    with pytest.raises(TisdissError) as raised:
        read_metadata(table, 2)
    told = str(raised.value)
    assert told.startswith(f"{table}:3: ") and complaint in told and "\n" not in told


def _without(*names: str) -> Callable[[Corpus, dict[str, str]], None]:
    def remove(corpus: Corpus, variables: dict[str, str]) -> None:
        for name in names:
            del variables[name]

    return remove


def _misplace(corpus: Corpus, variables: dict[str, str]) -> None:
    variables["LIBRISPEECH"] = "/nowhere/at all"


def _lose_subset(corpus: Corpus, variables: dict[str, str]) -> None:
    shutil.rmtree(corpus.speech / "test-clean")


def _lose_table(corpus: Corpus, variables: dict[str, str]) -> None:
    corpus.metadata("test").unlink()


def _swap_table(corpus: Corpus, variables: dict[str, str]) -> None:
    corpus.metadata("dev").write_text("mixture_ID,length\na,1\n")


def _lose_noise(corpus: Corpus, variables: dict[str, str]) -> None:
    shutil.rmtree(corpus.noise / "cv")


def _lose_one_noise(corpus: Corpus, variables: dict[str, str]) -> None:
    (corpus.noise / corpus.rows("dev")[0]["noise_path"]).unlink()


def _shorten_noise(corpus: Corpus, variables: dict[str, str]) -> None:
    write_noise(corpus.noise / corpus.rows("dev")[0]["noise_path"], 1, 0.5)


def _repeat_row(corpus: Corpus, variables: dict[str, str]) -> None:
    table = corpus.metadata("dev")
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")


def _reuse_speaker(corpus: Corpus, variables: dict[str, str]) -> None:
    table = corpus.metadata("test")
    row = corpus.rows("train-360")[0]
    table.write_text(table.read_text() + ",".join(row.values()) + "\n")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_without("LIBRISPEECH"), "where is LibriSpeech .* Set LIBRISPEECH in db.sh or in the"),
        (_misplace, "LIBRISPEECH /nowhere/at all: no such folder$"),
        (_lose_subset, "LibriSpeech: LibriSpeech's folder test-clean is not there$"),
        (_lose_table, "has neither Libri2Mix/libri2mix_test-clean.csv nor libri2mix_test-clean.c"),
        (_swap_table, "libri2mix_dev-clean.csv: has no column noise_gain, noise_path, source_1_g"),
        (_without("WHAM_NOISE"), "where is WHAM!'s noise .* Set WHAM_NOISE in db.sh"),
        (_lose_noise, "wham_noise: WHAM!'s folder cv is not there$"),
        (_lose_one_noise, "wham_noise/cv/0a_0.7_0b_-0.7.wav: no such file; check its name\n"),
        (_shorten_noise, "0a_0.7_0b_-0.7.wav: lasts half a second or less, too short to be rep"),
        (_repeat_row, "dev: mixture 31_3_31-32-0000_3-4-0000 is there twice$"),
        (_reuse_speaker, "speaker 14 is in train-360 and, with .*, in the test set test$"),
    ],
)
def test_every_missing_piece_is_one_line(corpus, recipe, spoil, complaint):
    variables = corpus.variables
    spoil(corpus, variables)
    done = prepare(recipe, variables, "--condition", "mix_both", *SUBSET)
    told = problem(done)
    assert re.search(complaint, told), told
    assert len(told.splitlines()) <= 2  # the second tells how many failed
    assert not (recipe / "data").exists()


def test_a_smaller_corpus_has_to_be_meant(shared_corpus, recipe):
    told = problem(prepare(recipe, shared_corpus.variables))
    assert told.startswith("dev: 2 mixtures, but the corpus has 3000 there")
    assert not (recipe / "downloads").exists()  # before hours of work


def test_dynamic_mixing_gets_the_training_sources_one_by_one(shared_corpus, recipe):
    prepared(recipe, shared_corpus.variables, "--dynamic_mixing", "--suffix", "_x")
    singles = read_data_dir(recipe / "data/train-360_single_x", ["wav.scp", "utt2spk"])
    sources = read_data_dir(recipe / "data/train-360_x", ["spk1.scp", "spk2.scp"])
    paths = [path for table in sources.values() for path in table.values()]
    assert sorted(singles["wav.scp"].values()) == sorted(paths)
    for utterance, path in singles["wav.scp"].items():
        assert singles["utt2spk"][utterance] == utterance.split("-")[0]
        number = int(Path(path).parent.name.removeprefix("s"))
        assert Path(path).stem.split("_")[number - 1] == utterance


def test_padded_sources_are_mixed_without_their_padding(shared_corpus, recipe):
    options = ("--dynamic_mixing", "--min_or_max", "max")
    prepared(recipe, shared_corpus.variables, *options)
    singles = read_scp(recipe / "data/train-360_single/wav.scp")
    sources = read_data_dir(recipe / "data/train-360", ["spk1.scp", "spk2.scp"])
    padded = {path for table in sources.values() for path in table.values()}
    shorter = 0
    for utterance, path in singles.items():
        made = soundfile.read(path, dtype="int16")[0]
        (source,) = [
            source
            for source in padded
            if Path(source).stem.split("_")[int(Path(source).parent.name[1:]) - 1] == utterance
        ]
        source = soundfile.read(source, dtype="int16")[0]
        np.testing.assert_array_equal(made, np.trim_zeros(source, "b"))
        shorter += len(source) - len(made) > 200
    assert shorter >= 3
    times = {path: Path(path).stat().st_mtime_ns for path in singles.values()}
    prepared(recipe, shared_corpus.variables, *options)
    assert times == {path: Path(path).stat().st_mtime_ns for path in singles.values()}


def write_transcripts(corpus: Corpus) -> dict[str, str]:
    """LibriSpeech's files of transcripts, in capitals; return the words in small letters."""
    said = {}
    for path in sorted(corpus.speech.rglob("*.flac")):
        said[path.stem] = f"utterance {path.stem.replace('-', ' and ')}"
        with (path.parent / f"{path.stem.rpartition('-')[0]}.trans.txt").open("a") as file:
            file.write(f"{path.stem} {said[path.stem].upper()}\n")
    return said


def test_transcripts_stand_beside_the_mixtures_and_their_utterances(corpus, recipe):
    said = write_transcripts(corpus)
    options = ("--transcripts", "--min_or_max", "max", "--suffix", "_x")
    prepared(recipe, corpus.variables, *options)
    for name in COUNTS:
        folder = recipe / "data" / f"{name}_x"
        texts = [read_scp(folder / f"text_spk{number}") for number in (1, 2)]
        for key, path in read_scp(folder / "wav.scp").items():
            assert [text[key] for text in texts] == [said[u] for u in Path(path).stem.split("_")]
    for name in ("train-360", "dev"):
        singles = recipe / "data" / f"{name}_singles_x"
        texts, speakers = read_scp(singles / "text"), read_scp(singles / "utt2spk")
        for utterance, path in read_scp(singles / "wav.scp").items():
            assert texts[utterance] == said[utterance]
            assert speakers[utterance] == utterance.split("-")[0]
            source = next(corpus.speech.rglob(f"{utterance}.flac"))
            ratio = soundfile.info(source).frames / soundfile.info(path).frames
            assert ratio == pytest.approx(2, abs=0.01)  # 16 kHz to 8 kHz, without padding
    assert not (recipe / "data/test_singles_x").exists()


def test_a_missing_transcript_is_named(corpus, recipe):
    options = ("--transcripts", "--min_or_max", "max")
    write_transcripts(corpus)
    speaker, chapter, number = Path(corpus.utterance("dev")).stem.split("-")
    folder = corpus.speech / SUBSETS["dev"] / speaker / chapter
    lines = (folder / f"{speaker}-{chapter}.trans.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f"{speaker}-{chapter}-{number} ")]
    (folder / f"{speaker}-{chapter}.trans.txt").write_text("\n".join([*kept, "other WORD\n"]))
    told = problem(prepare(recipe, corpus.variables, *SUBSET, *options))
    assert told == f"dev: 1 utterances have no transcript: {speaker}-{chapter}-{number}"
    for path in (corpus.speech / SUBSETS["dev"]).rglob("*.trans.txt"):
        path.unlink()
    told = problem(prepare(recipe, corpus.variables, *SUBSET, *options))
    assert told.endswith("dev-clean: holds no transcripts (*/*/*.trans.txt)")


def test_cut_mixtures_have_no_transcripts(shared_corpus, recipe):
    told = problem(prepare(recipe, shared_corpus.variables, *SUBSET, "--transcripts"))
    assert told.startswith("--transcripts needs --min_or_max max: the mixtures of min end before")


def test_a_single_speaker_in_noise_has_no_transcripts_of_two(shared_corpus, recipe):
    options = ("--transcripts", "--min_or_max", "max", "--condition", "mix_single")
    told = problem(prepare(recipe, shared_corpus.variables, *options))
    assert told == "--transcripts: mix_single has only one speaker"


def test_noise_is_not_mixed_dynamically(shared_corpus, recipe):
    options = ("--condition", "mix_both", "--dynamic_mixing")
    told = problem(prepare(recipe, shared_corpus.variables, *options))
    assert told == "--dynamic_mixing mixes only speakers: not for mix_both"


def test_a_number_of_processes_is_at_least_one(shared_corpus, recipe):
    done = prepare(recipe, shared_corpus.variables, "--nj", "0")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.endswith("--nj: expected a whole number of 1 or more, found '0'\n")


# --- interrupted and continued ----------------------------------------------------------------


def test_only_what_is_missing_is_made_again(shared_corpus, recipe):
    prepared(recipe, shared_corpus.variables)
    before = contents(recipe)
    waves = sorted((recipe / "downloads").rglob("*.wav"))
    times = {path: path.stat().st_mtime_ns for path in waves}
    gone, half = waves[1], waves[-1]
    gone.unlink()
    half.write_bytes(half.read_bytes()[:5000])
    prepared(recipe, shared_corpus.variables)
    assert contents(recipe) == before
    changed = {path for path, time_ns in times.items() if path.stat().st_mtime_ns != time_ns}
    assert changed == {gone, half}


@pytest.mark.promise("disk-full")
def test_a_full_disk_is_told_once_and_the_work_goes_on_after_it(shared_corpus, recipe):
    # No file above 16 KiB, a second: as on a full disk, the system refuses to write.
    command = ["bash", "-c", 'ulimit -f 16; exec "$0" "$@"', "local/data.sh", "--nj", "1", *SUBSET]
    done = start(recipe, command, shared_corpus.variables)
    told = problem(done)
    assert "cannot be written: File too large; correct that and run again" in told
    assert "\n" not in told
    assert not [path for path in recipe.rglob("*") if path.name.startswith(".aside")]
    prepared(recipe, shared_corpus.variables)
    assert len(read_scp(recipe / "data/train-360/wav.scp")) == COUNTS["train-360"]


def test_conditions_share_a_tree_without_disturbing_each_other(shared_corpus, recipe):
    prepared(recipe, shared_corpus.variables)
    clean = {path: path.stat().st_mtime_ns for path in (recipe / "downloads").rglob("*.wav")}
    options = ("--condition", "mix_both", "--suffix", "_mix_both_8k_min")
    prepared(recipe, shared_corpus.variables, *options)
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in clean.items())
    assert sorted(path.name for path in (recipe / "data").iterdir()) == sorted(
        name + suffix for name in COUNTS for suffix in ("", "_mix_both_8k_min")
    )


# --- the recipe -------------------------------------------------------------------------------


def run(recipe: Path, variables: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    fixed = ["--python", sys.executable, "--ngpu", "0", "--nj", "1", "--inference_nj", "1"]
    subset = ["--local_data_opts", *SUBSET]
    return start(recipe, ["./run.sh", *fixed, *subset, *options], variables)


@pytest.mark.slow
def test_every_stage_runs(shared_corpus, recipe):
    (recipe / "tiny.yaml").write_text(TINY_CONFIG)
    options = ["--enh_config", "tiny.yaml", "--enh_args", "--max_epoch 1"]
    done = run(recipe, shared_corpus.variables, *options, "--n_re", "1 2")
    assert done.returncode == 0, done.stderr
    exp = recipe / "exp/enh_tiny_raw_max_epoch1"
    results = (exp / "RESULTS.md").read_text()
    assert "|N_re|STOI|" in results and "Comparison with published results" in results
    mixtures = read_scp(recipe / "dump/raw/test/wav.scp")
    assert len(mixtures) == COUNTS["test"]
    for speaker in (1, 2):
        separated = read_scp(exp / f"enhanced_re2_test/spk{speaker}.scp")
        for name, path in separated.items():
            assert soundfile.info(recipe / path).frames == soundfile.info(mixtures[name]).frames


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_speakers_are_recognised(corpus, recipe):
    write_transcripts(corpus)
    (recipe / "tiny.yaml").write_text(TINY_CONFIG)
    separated = ["--enh_config", "tiny.yaml", "--enh_args", "--max_epoch 1"]
    done = run(recipe, corpus.variables, *separated, "--stop_stage", "6")
    assert done.returncode == 0, done.stderr
    folder = copy_recipe("librimix", recipe.parents[2], "enh_asr1")
    options = ["--separation", "../enh1/exp/enh_tiny_raw_max_epoch1", *tiny_recognition()]
    command = ["./run.sh", "--python", sys.executable, "--local_data_opts", *SUBSET, *options]
    done = start(folder, command, corpus.variables)
    assert done.returncode == 0, done.stderr
    exp = folder / "exp/train-360/enh_asr_train_enh_asr_tiny"
    assert "| joint, N_re 2 |" in (exp / "RESULTS.md").read_text()
    assert (exp / "packed/meta.yaml").is_file()


def test_other_conditions_have_names_of_their_own(shared_corpus, recipe):
    options = ["--condition", "mix_both", "--fs=16000", "--min_or_max", "max", "--num_spk", "3"]
    done = run(recipe, shared_corpus.variables, *options, "--stop_stage", "4")
    assert done.returncode == 0, done.stderr
    suffix = "_3spk_mix_both_16k_max"
    assert sorted(path.name for path in (recipe / "data").glob("[!.]*")) == [
        f"{name}{suffix}" for name in ("dev", "test", "train-360")
    ]
    dumped = recipe / f"dump/raw/test{suffix}"
    assert soundfile.info(read_scp(dumped / "spk3.scp").popitem()[1]).samplerate == 16000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train_set", "train"], "run.sh: --train_set train: must be train-360 or train-100"),
        (["--fs", "44100"], "run.sh: --fs 44100: must be 8k or 16k"),
        (["--condition"], "run.sh: --condition lacks its value"),
        (["--conditions", "mix_both"], "unknown option --conditions (see --help)"),
    ],
)
def test_wrong_options_are_one_line(recipe, options, message):
    done = start(recipe, ["./run.sh", "--python", sys.executable, *options], {})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.endswith(f"{message}\n")
    assert not (recipe / "data").exists()
