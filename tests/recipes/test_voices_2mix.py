"""The voices_2mix recipe: from folders of recordings to a bank, fixed sets and RESULTS.md."""

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from mini_corpus import contents, table
from recipe_folder import copy_recipe, read_data_dir
from voice_folders import sex_of, speak, write_folders, write_noise, write_table

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.mixing.bank import SPLITS, Bank
from espnet2_tisdiss.mixing.levels import frame_level
from espnet2_tisdiss.recipes.data_directories import LIST_OF_SIGNAL
from espnet2_tisdiss.recipes.voices_2mix import bank
from espnet2_tisdiss.recipes.voices_2mix.prepare import Sources, make_voices, plan
from espnet2_tisdiss.recipes.voices_2mix.sizes import SIZES, Size

RATE = 16000
# The smallest number of rooms with which each split gets one.
TRIAL = Size("trial", rooms=6, valid_mixtures=8, test_mixtures=4, seconds=3.0)
TESTS = ("test_clean", "test_noisy", "test_rooms", "test_partial")


@pytest.fixture(scope="module")
def said():
    """Four utterances of each of 12 voices."""
    return speak(12, 4)


@pytest.fixture(scope="module")
def voices(said, tmp_path_factory):
    """A folder of speakers; not to be changed."""
    folder = tmp_path_factory.mktemp("voices")
    write_folders(folder, said)
    return folder


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A folder of noise; not to be changed."""
    folder = tmp_path_factory.mktemp("noise")
    write_noise(folder / "fan" / "1.flac")
    return folder


@pytest.fixture
def quick_rooms(monkeypatch):
    """Two taps instead of a room, which takes half a second."""

    def responses(rng, rate):
        drawn = np.zeros((4, 64), np.float32)
        drawn[:, 0], drawn[:, 40] = 1, [rng.uniform(0.3, 0.9) for _ in range(4)]
        return drawn

    monkeypatch.setattr(bank, "impulse_responses", responses)


def make(folder, processes=1, seed=0, size=TRIAL, **sources):
    """Make a corpus in ``folder/corpus`` and its data directories in ``folder/data``."""
    where = (folder / "corpus", folder / "data", folder)
    return make_voices(size, seed, Sources(**sources), *where, processes)


def split_table(voices, said, folder):
    """A copy of the voices in which four speakers of both sexes are of each split."""
    shutil.copytree(voices, folder)
    rows = []
    for sex in "FM":
        members = [voice.speaker for voice in said if sex_of(voice) == sex]
        for number, speaker in enumerate(members):
            rows += [
                f"{path.relative_to(folder)} {speaker} {sex} {SPLITS[number % 3]}"
                for path in sorted((folder / speaker).rglob("*.*"))
            ]
    write_table(folder, "path speaker sex split", rows)
    return folder


@pytest.fixture(scope="module")
def trial(voices, said, noise, tmp_path_factory):
    """A folder with the trial corpus, and what the program said; not to be changed."""
    folder = tmp_path_factory.mktemp("trial")
    listed = split_table(voices, said, folder / "listed")
    return folder, make(folder, voices=listed, noise=noise)


# --- the bank ---------------------------------------------------------------------------------


def test_the_bank_holds_what_was_said(trial, said):
    bank = trial[0] / "corpus" / "bank"
    splits = {split: Bank(bank, split) for split in SPLITS}
    speakers = {split: {s.name for s in b.speakers} for split, b in splits.items()}
    assert all(len(members) == 4 for members in speakers.values())
    assert set.union(*speakers.values()) == {voice.speaker for voice in said}
    sexes = {s.name: s.sex for b in splits.values() for s in b.speakers}
    assert sexes == {voice.speaker: sex_of(voice) for voice in said}
    for voice, utterances in said.items():
        (held,) = (b for b in splits.values() if voice.speaker in [s.name for s in b.speakers])
        (speaker,) = (s for s in held.speakers if s.name == voice.speaker)
        for utterance, (samples, rate) in zip(speaker.utterances, utterances, strict=True):
            number = int(utterance.name.split("/")[-1][0])
            assert number == speaker.utterances.index(utterance)
            # as long as the recording, or shorter by the silence at its ends
            assert 0.5 < utterance.length / RATE / (len(samples) / rate) < 1.001 + 0.06
            assert frame_level(held.speech(utterance), RATE) == pytest.approx(1, rel=1e-3)
    assert "4 / 4 / 4 speakers to train, validate and test with, 48 recordings" in trial[1]


def test_both_layouts_give_the_same_bank(voices, said, tmp_path, quick_rooms):
    listed = tmp_path / "listed"
    shutil.copytree(voices, listed)
    (listed / "speakers.tsv").unlink()
    rows = [
        f"{path.relative_to(listed)} {voice.speaker} {'female' if sex_of(voice) == 'F' else 'M*'}"
        for voice in said
        for path in (listed / voice.speaker).rglob("*.*")
    ]
    write_table(listed, "path speaker sex", rows[::-1])
    for name, folder in (("a", voices), ("b", listed)):
        make(tmp_path / name, voices=folder)
    assert contents(tmp_path / "a" / "corpus") == contents(tmp_path / "b" / "corpus")


def test_the_same_files_whatever_the_processes(trial, noise, tmp_path):
    make(tmp_path, processes=2, voices=trial[0] / "listed", noise=noise)
    for name in ("corpus", "data"):
        assert contents(tmp_path / name) == contents(trial[0] / name)


def test_another_seed_draws_other_mixtures(trial, noise, tmp_path, quick_rooms):
    make(tmp_path, seed=1, voices=trial[0] / "listed", noise=noise)
    old, new = (contents(folder / "corpus/sets/test_clean/mix") for folder in (trial[0], tmp_path))
    assert old.keys() == new.keys() and all(old[name] != new[name] for name in old)


def test_a_finished_corpus_is_not_made_again_and_data_are(trial, noise, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trial[0], folder)
    before = contents(folder)
    shutil.rmtree(folder / "data")
    shutil.rmtree(folder / "corpus" / "sets" / "test_clean")
    bank = (folder / "corpus" / "bank" / "speech.npy").stat().st_mtime_ns
    make(folder, voices=trial[0] / "listed", noise=noise)
    assert contents(folder) == before
    assert (folder / "corpus" / "bank" / "speech.npy").stat().st_mtime_ns == bank


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"noise": None}, "was made with noise: remove it"),
        ({"voices": "fewer"}, "was made with other recordings: remove it"),
    ],
)
def test_another_corpus_is_refused(trial, noise, voices, tmp_path, sources, message):
    folder = tmp_path / "copy"
    shutil.copytree(trial[0], folder)
    if "voices" in sources:
        sources = {"voices": voices}
    with pytest.raises(TisdissError, match=message) as caught:
        make(folder, **({"voices": trial[0] / "listed", "noise": noise} | sources))
    assert "\n" not in str(caught.value)


# --- the sets ---------------------------------------------------------------------------------


def read_set(folder, name):
    """The scenes of a set, and the samples of its signals by mixture, as float."""
    data = folder / "data" / name
    lists = read_data_dir(data, [*LIST_OF_SIGNAL.values(), "utt2spk"])
    scenes = {row["mixture"]: row for row in table(data / "scenes.tsv")}
    assert scenes.keys() == lists["wav.scp"].keys()
    signals = {}
    for key in scenes:
        files = [folder / lists[name][key] for name in LIST_OF_SIGNAL.values()]
        assert {soundfile.info(file).subtype for file in files} == {"PCM_16"}
        assert {soundfile.info(file).samplerate for file in files} == {RATE}
        signals[key] = [soundfile.read(file, dtype="int16")[0].astype(float) for file in files]
    return scenes, signals


def test_each_set_has_its_speakers_pairs_and_conditions(trial, said):
    folder = trial[0]
    sex = {voice.speaker: sex_of(voice) for voice in said}
    assert {path.name for path in (folder / "data").iterdir()} == {"valid", *TESTS}
    for name in ("valid", *TESTS):
        split = name.partition("_")[0]
        members = {s.name for s in Bank(folder / "corpus" / "bank", split).speakers}
        scenes, signals = read_set(folder, name)
        pairs = sorted(key.split("_")[0] for key in scenes)
        assert pairs == sorted(["FF", "FM", "MM", "FM"] * (len(scenes) // 4))
        for key, row in scenes.items():
            speakers = row["speaker1"], row["speaker2"]
            assert speakers[0] != speakers[1] and set(speakers) <= members
            assert sorted(sex[speaker] for speaker in speakers) == list(key[:2])
            assert {len(signal) for signal in signals[key]} == {3 * RATE}
        conditions = [row["condition"] for row in scenes.values()]
        expected = [name.partition("_")[2]] * 4
        if name == "valid":
            expected = ["clean", "noisy", "rooms", "partial"] * 2
        assert sorted(conditions) == sorted(expected)


def test_mixtures_are_the_sums_of_their_sources_at_their_levels(trial):
    scenes, signals = read_set(trial[0], "test_clean")
    for key, (mix, s1, s2) in signals.items():
        assert np.abs(mix - s1 - s2).max() <= 2
        assert max(np.abs(x).max() for x in (mix, s1, s2)) == pytest.approx(0.9 * 32768, rel=1e-3)
        level = float(scenes[key]["level_db"])
        assert abs(level) <= 5
        found = 10 * np.log10(frame_level(s1, RATE) / frame_level(s2, RATE))
        # the scene's level is that of complete utterances
        assert found == pytest.approx(level, abs=4)


def test_noise_is_as_loud_as_the_scene_says(trial):
    scenes, signals = read_set(trial[0], "test_noisy")
    for key, (mix, s1, s2) in signals.items():
        wanted = float(scenes[key]["noise_snr_db"])
        assert 5 <= wanted <= 25 and scenes[key]["noise"] == "fan/1.flac"
        noise = np.mean(np.square(mix - s1 - s2))
        louder = max(frame_level(s1, RATE), frame_level(s2, RATE))
        assert 10 * np.log10(louder / noise) == pytest.approx(wanted, abs=4)


def test_one_speaker_is_alone_for_a_part(trial):
    scenes, signals = read_set(trial[0], "test_partial")
    for key, (_, *sources) in signals.items():
        spans = [
            tuple(round(float(scenes[key][f"{end}{n}"]) * RATE) for end in ("from", "to"))
            for n in (1, 2)
        ]
        shorter = min((0, 1), key=lambda n: spans[n][1] - spans[n][0])
        start, stop = spans[shorter]
        assert 3 * RATE * 0.2 <= 3 * RATE - (stop - start) <= 3 * RATE * 0.5
        silent = np.r_[sources[shorter][: max(start - 8, 0)], sources[shorter][stop + 8 :]]
        assert not silent.any() and sources[shorter][start:stop].any()
        assert spans[1 - shorter] == (0, 3 * RATE)


def test_rooms_of_a_set_are_of_its_split(trial):
    scenes, _ = read_set(trial[0], "test_rooms")
    assert {row["room"] for row in scenes.values()} == {"0"}  # test has one of the six
    assert all(len(set(row["places"].split(","))) == 2 for row in scenes.values())


# --- what is missing --------------------------------------------------------------------------


def test_without_noise_and_sexes_it_is_said_and_the_rest_is_made(voices, tmp_path, quick_rooms):
    plain = tmp_path / "plain"
    shutil.copytree(voices, plain)
    (plain / "speakers.tsv").unlink()
    told = make(tmp_path, voices=plain).splitlines()
    assert any("12 of 12 speakers are of unknown sex" in line for line in told)
    assert any(line.startswith("without --noise") for line in told)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        "valid",
        "test_clean",
        "test_rooms",
        "test_partial",
    }
    assert all(key.startswith("XX_") for key in read_scp(tmp_path / "data/valid/wav.scp"))


def test_the_plan_is_of_the_corpus_that_is_there(trial, noise, tmp_path):
    names, options = plan(TRIAL, 0, Sources(), trial[0] / "corpus", "_x").splitlines()
    assert names.split() == [f"{name}_x" for name in TESTS]
    assert options.split()[-1] == f"bank={trial[0] / 'corpus' / 'bank'}"
    names, options = plan(TRIAL, 0, Sources(), tmp_path, "").splitlines()
    assert names.split() == ["test_clean", "test_rooms", "test_partial"]
    assert "noise_share=0" in options
    assert "test_noisy" in plan(TRIAL, 0, Sources(noise=noise), tmp_path, "")


# --- bad input --------------------------------------------------------------------------------


def write_faulty(voices, folder):
    """A copy of the voices with a file for each fault; returns its path and expected messages."""
    shutil.copytree(voices, folder)
    speakers = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [speaker / "a" / "0.wav" for speaker in speakers]
    files[0].write_bytes(b"RIFF nothing of the kind")
    files[1].write_bytes(b"")
    soundfile.write(files[2], np.zeros(RATE), RATE)
    soundfile.write(files[3], 0.1 * np.ones(8000), 8000)
    soundfile.write(files[4], 0.1 * np.ones(800), RATE)
    soundfile.write(files[5], np.full(RATE, np.nan), RATE, subtype="FLOAT")
    files[6].write_bytes(files[6].read_bytes()[:-1000])
    reasons = [
        "truncated: only 24 of",
        "is empty (0 bytes)",
        "is silent; leave it out",
        "is at 8000 Hz",
        "lasts 0.050 s",
        "is not a finite number",
        "truncated: ",
    ]
    return list(zip(map(str, files), reasons, strict=False))


def test_every_file_that_is_no_use_is_named_and_the_others_are_kept(
    voices, tmp_path, monkeypatch, quick_rooms
):
    folder = tmp_path / "faulty"
    expected = write_faulty(voices, folder)
    with pytest.raises(TisdissError) as caught:
        make(tmp_path, voices=folder)
    *lines, last = str(caught.value).splitlines()
    assert len(lines) == len(expected)
    for line, (file, reason) in zip(lines, expected, strict=True):
        assert line.startswith(f"{file}: ") and reason in line
    assert last.startswith(f"{len(expected)} recordings cannot be used")
    assert (tmp_path / "corpus" / "faults.txt").read_text().splitlines() == lines
    assert not (tmp_path / "corpus" / "bank").exists() and not (tmp_path / "data").exists()
    # decoded files are not decoded again after the faulty ones were corrected or removed
    for line in lines[:-1]:
        Path(line.partition(": ")[0]).unlink()
    mended = Path(lines[-1].partition(": ")[0])
    shutil.copy(voices / mended.relative_to(folder), mended)
    read = []
    real = bank.decode_speech

    def spy(recording, allow_narrow_band):
        read.append(recording.name)
        return real(recording, allow_narrow_band)

    monkeypatch.setattr(bank, "decode_speech", spy)
    make(tmp_path, voices=folder)
    assert read == [mended.relative_to(folder).as_posix()]
    assert not (tmp_path / "corpus" / "decoded").exists()
    assert not (tmp_path / "corpus" / "faults.txt").exists()


def test_skip_bad_leaves_them_out_and_narrow_band_can_be_taken(voices, tmp_path, quick_rooms):
    folder = tmp_path / "faulty"
    expected = write_faulty(voices, folder)
    told = make(tmp_path, voices=folder, skip_bad=True, allow_narrow_band=True)
    left_out = [reason for _, reason in expected if "8000 Hz" not in reason]
    assert f"left out: {len(left_out)} recordings" in told
    names = {row["name"] for row in table(tmp_path / "corpus" / "bank" / "utterances.tsv")}
    assert len(names) == 48 - len(left_out)


def test_noises_none_of_which_can_be_used_are_one_line(voices, tmp_path):
    write_noise(tmp_path / "noise" / "1.wav", seconds=0.5)
    with pytest.raises(TisdissError, match="none of the noises can be used: give others") as caught:
        make(tmp_path, voices=voices, noise=tmp_path / "noise", skip_bad=True)
    assert "\n" not in str(caught.value)


def test_twenty_faults_are_shown_and_all_are_listed(voices, tmp_path, quick_rooms):
    folder = tmp_path / "faulty"
    shutil.copytree(voices, folder)
    for path in sorted(folder.rglob("*.flac")) + sorted(folder.rglob("*.wav")):
        path.write_bytes(b"no audio")
    with pytest.raises(TisdissError) as caught:
        make(tmp_path, voices=folder)
    lines = str(caught.value).splitlines()
    assert len(lines) == 22 and lines[20] == "and 4 more"
    assert len((tmp_path / "corpus" / "faults.txt").read_text().splitlines()) == 24


def test_every_row_of_a_table_that_is_no_use_is_named(voices, tmp_path, quick_rooms):
    folder = tmp_path / "listed"
    shutil.copytree(voices, folder)
    rows = []
    for number, speaker in enumerate(sorted(p.name for p in folder.iterdir() if p.is_dir())):
        # names of speakers are their data set's own: each of these two has an "a"
        source, name = f"set{number % 2}", "a" if number < 2 else speaker
        rows.append(f"{speaker}/a/1.flac {source} {name} ? {SPLITS[number % 3]} 30")
    good = len(rows)
    speaker = rows[0].split("/")[0]
    rows += [
        f"{speaker}/a/1.flac set0 b ? train 30",
        "gone.wav set0 c ? train 30",
        f"{speaker}/a/0.wav set0 d X train 30",
        f"{speaker}/a/0.wav set0 d ? dev 30",
        f"{speaker}/a/0.wav set0 d ? train loud",
        f"{speaker}/a/0.wav set0",
        f"{speaker}/a/0.wav set0 a ? valid 30",
    ]
    write_table(folder, "path source speaker sex split snr_db", rows)
    with pytest.raises(TisdissError) as caught:
        make(tmp_path, voices=folder)
    at = folder / "utterances.tsv"
    *lines, _ = str(caught.value).splitlines()
    assert lines == [
        f"{at}:{good + 2}: {speaker}/a/1.flac is in line 2 already",
        f"{at}:{good + 3}: {folder}/gone.wav: no such file",
        f"{at}:{good + 4}: sex is 'X', not F, M or ?",
        f"{at}:{good + 5}: split is 'dev', not train, valid or test",
        f"{at}:{good + 6}: snr_db is 'loud', not a number",
        f"{at}:{good + 7}: speaker is empty",
        f"{at}: speaker set0/a is ?/train and ?/valid: give each speaker one sex and one split",
    ]
    make(tmp_path, voices=folder, skip_bad=True)
    speakers = {row["speaker"] for row in table(tmp_path / "corpus" / "bank" / "utterances.tsv")}
    assert "set1/a" in speakers and "set0/a" not in speakers


def few_speakers(voices, folder):
    for speaker in sorted(path for path in voices.iterdir() if path.is_dir())[:5]:
        shutil.copytree(speaker, folder / speaker.name)


def two_splits(voices, folder):
    few_speakers(voices, folder)
    names = sorted(path.name for path in folder.iterdir())
    splits = ("train", "train", "train", "valid", "valid")
    rows = [f"{n}/a/0.wav {n} {split}" for n, split in zip(names, splits, strict=True)]
    write_table(folder, "path speaker split", rows)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda voices, folder: folder.mkdir(), "holds neither utterances.tsv nor recordings"),
        (few_speakers, r"there are 5 speakers \(.*\), but at least 6 are needed"),
        (two_splits, "split test has 0 speakers with usable recordings"),
    ],
)
def test_too_few_speakers_are_one_line(voices, tmp_path, prepare, message):
    prepare(voices, tmp_path / "few")
    with pytest.raises(TisdissError, match=message) as caught:
        make(tmp_path, voices=tmp_path / "few")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "corpus").exists()


def test_a_table_without_its_columns_is_one_line(tmp_path):
    write_table(tmp_path, "file speaker", ["a.wav b"])
    with pytest.raises(
        TisdissError, match=r"utterances.tsv: has no column path; the first line must .* by '\\t'"
    ):
        make(tmp_path, voices=tmp_path)


def test_a_damaged_bank_names_file_and_line(trial, tmp_path):
    bank = tmp_path / "bank"
    shutil.copytree(trial[0] / "corpus" / "bank", bank)
    text = (bank / "utterances.tsv").read_text()
    lines = text.splitlines()
    for bad, message in (
        (lines[2].rpartition("\t")[0] + "\tlong", "utterances.tsv:3: length is 'long'"),
        (lines[2].rpartition("\t")[0], "utterances.tsv:3: length is None"),
        (lines[2].rpartition("\t")[0] + "\t999999999", "lies outside the"),
    ):
        (bank / "utterances.tsv").write_text("\n".join([*lines[:2], bad, *lines[3:]]) + "\n")
        with pytest.raises(TisdissError, match=message):
            Bank(bank, "train")


# --- as a user runs it ------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return copy_recipe("voices_2mix", tmp_path)


def run(recipe: Path, *options, cwd=None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [recipe / "run.sh", "--python", sys.executable, *map(str, options)],
        capture_output=True,
        text=True,
        cwd=cwd,
    )


@pytest.mark.timeout(1200)
def test_tiny_size_runs_every_stage(recipe, voices, noise):
    # names of folders are relative to the user's current folder
    places = ("--voices", voices.name, "--noise", noise)
    done = run(recipe, *places, "--size", "tiny", "--nj", "1", cwd=voices.parent)
    assert done.returncode == 0, done.stderr
    exp = recipe / "exp/tiny_0/enh_train_tiny_raw"
    log = (exp / "train.log").read_text()
    assert "training at N_re 1" in log and "training at N_re 2" in log
    options = yaml.safe_load((exp / "config.yaml").read_text())
    assert options["mixing_conf"]["bank"] == "downloads/voices_tiny_0/bank"
    mixtures = read_scp(recipe / "dump/tiny_0/raw/test_tiny_0/wav.scp")
    assert len(mixtures) == 4
    for n_re in (1, 2):
        separated = read_scp(exp / f"enhanced_re{n_re}_test_tiny_0/spk2.scp")
        assert separated.keys() == mixtures.keys()
        assert all(soundfile.info(recipe / p).frames == 2 * RATE for p in separated.values())
    with (exp / "RESULTS.csv").open() as file:
        assert len(list(csv.DictReader(file))) >= 8
    assert "test_tiny_0" in (exp / "RESULTS.md").read_text()
    with zipfile.ZipFile(exp / "enh_train_tiny_raw_valid.loss.ave.zip") as packed:
        assert any(name.endswith("config.yaml") for name in packed.namelist())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "huge"], "run.sh: --size huge: must be tiny or default"),
        (["--seed", "x"], "run.sh: --seed x: must be a whole number"),
        (["--voices", "a", "--public", "b"], "run.sh: --voices and --public exclude each other"),
        (["--voices", "/nowhere"], "local/data.sh: VOICES /nowhere: no such folder"),
        ([], "PUBLIC_VOICES in db.sh"),
    ],
)
def test_wrong_options_are_one_line(recipe, options, message):
    done = run(recipe, *options)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1 and message in done.stderr
    assert not (recipe / "downloads").exists()


def test_sizes_leave_each_split_a_room():
    for size in SIZES.values():
        assert all(round(size.rooms * share) for share in (0.7, 0.15))


def test_the_note_of_a_corpus_that_cannot_be_read_is_named(trial, noise, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trial[0], folder)
    (folder / "corpus" / "corpus.json").write_text(json.dumps([1]))
    with pytest.raises(TisdissError, match="corpus.json: not readable: remove the folder"):
        make(folder, voices=trial[0] / "listed", noise=noise)
    assert os.path.exists(folder / "corpus" / "bank")
