"""The mini_2mix corpus: it is speech, mixed as promised, the same every time, and resumable."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mini_corpus import (
    FLITE,
    LOCAL,
    NO_VOICES,
    contents,
    data_sh,
    pitch_hz,
    put_program,
    table,
    use_engines,
)
from recipe_folder import living_processes, prepare_here

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.mixing import levels
from espnet2_tisdiss.mixing.bank import SPLITS
from espnet2_tisdiss.recipes.corpora.files import require_package
from espnet2_tisdiss.recipes.mini_2mix import mixtures, sentences, synthesis, voices
from espnet2_tisdiss.recipes.mini_2mix.data_lists import make_data_dirs
from espnet2_tisdiss.recipes.mini_2mix.plan import WSJ0_SPLIT, Mixture, make_plan
from espnet2_tisdiss.recipes.mini_2mix.prepare import make_corpus
from espnet2_tisdiss.recipes.mini_2mix.sizes import SIZES, Size
from espnet2_tisdiss.recipes.mini_2mix.speech_files import SAMPLE_RATE, read_speech, write_speech

TRIAL = Size("trial", 12, train=8, valid=4, test=4, min_seconds=1.5, max_seconds=2.5)


def make_trial(folder, seed=0, processes=1, recipe=None):
    """Make the trial corpus in ``folder/corpus`` and its data directories in ``folder/data``."""
    return make_corpus(TRIAL, seed, folder / "corpus", folder / "data", recipe or folder, processes)


@pytest.fixture(scope="module", autouse=True)
def _espeak_alone(tmp_path_factory):
    """Make the tests independent of the installed engines."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_engines(monkeypatch, tmp_path_factory.mktemp("bin"), NO_VOICES, NO_VOICES)
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A recipe folder in which data.sh has made the tiny corpus, and what it printed."""
    recipe = tmp_path_factory.mktemp("my recipe")  # with a space, as users have them
    result = data_sh(recipe, "--size", "tiny", "--nj", "2", "--seed", "0")
    assert result.returncode == 0, result.stderr
    return recipe, result


@pytest.fixture(scope="module")
def tiny_corpus(tiny):
    return tiny[0] / "downloads" / "mini_tiny_0"


@pytest.fixture(scope="module")
def made_trial(tmp_path_factory):
    """A folder in which the trial corpus was made; not to be changed."""
    folder = tmp_path_factory.mktemp("trial")
    make_trial(folder)
    return folder


@pytest.fixture
def trial(made_trial, tmp_path):
    """A copy of the trial's folder that may be changed."""
    shutil.copytree(made_trial, tmp_path, dirs_exist_ok=True)
    return tmp_path


# --- the command and what it leaves -----------------------------------------------------------


def test_data_sh_makes_the_promised_sets(tiny, tiny_corpus):
    recipe, result = tiny
    assert "40 voices" in result.stdout
    for split, count in {"train": 80, "valid": 12, "test": 4}.items():
        folder = recipe / "data" / split
        tables = {n: read_scp(folder / n) for n in ("wav.scp", "spk1.scp", "spk2.scp", "utt2spk")}
        for name, listed in tables.items():
            assert len(listed) == count
            assert list(listed) == sorted(listed, key=str.encode), f"{split}/{name} in byte order"
        for utterance, path in tables["wav.scp"].items():
            first, second, utt1, snr1, utt2, snr2 = utterance.split("_")
            assert tables["utt2spk"][utterance] == f"{first}_{second}"
            assert utt1.startswith(first) and utt2.startswith(second)
            wav8k = f"downloads/mini_tiny_0/wav8k/min/{WSJ0_SPLIT[split]}"
            name = f"{utt1}_{snr1}_{utt2}_{snr2}.wav"
            assert path == f"{wav8k}/mix/{name}"
            assert tables["spk1.scp"][utterance] == f"{wav8k}/s1/{name}"
            assert tables["spk2.scp"][utterance] == f"{wav8k}/s2/{name}"
            assert (recipe / path).is_file()
        pairs = read_scp(folder / "spk2utt")
        assert {u: s for s, us in pairs.items() for u in us.split()} == tables["utt2spk"]
    first_speakers = read_scp(recipe / "data" / "train" / "utt2spk_ref1")
    assert first_speakers == {u: u.split("_")[0] for u in read_scp(recipe / "data/train/wav.scp")}
    assert not list(recipe.rglob(".aside*"))


def test_data_dirs_of_several_corpora_stand_side_by_side(tiny, tmp_path):
    recipe = tmp_path / "recipe"
    shutil.copytree(tiny[0], recipe)
    before = contents(recipe / "data" / "train")
    options = ["--size", "tiny", "--suffix", "_more"]
    assert prepare_here("mini_2mix", recipe, options, os.environ).returncode == 0
    assert contents(recipe / "data" / "train") == before
    assert contents(recipe / "data" / "train_more") == before


def test_lists_are_in_the_format_of_wsj0_2mix(tiny_corpus):
    lines = (tiny_corpus / "mix_2_spk_cv.txt").read_text().split("\n")
    assert lines.pop() == "" and len(lines) == 12
    for line in lines:
        path1, snr1, path2, snr2, end = line.split(" ")
        assert end == "" and float(snr1) == -float(snr2) and abs(float(snr1)) <= 2.5
        assert (tiny_corpus / path1).is_file() and (tiny_corpus / path2).is_file()
        name = f"{Path(path1).stem}_{snr1}_{Path(path2).stem}_{snr2}.wav"
        assert (tiny_corpus / "wav8k" / "min" / "cv" / "mix" / name).is_file()


def test_help_names_every_option(tmp_path):
    result = data_sh(tmp_path, "--help")
    assert result.returncode == 0
    for word in ("--size", "--seed", "--nj", "--corpus", "--list_test_sets", "default", "full"):
        assert word in result.stdout


def test_an_interpreter_without_the_libraries_is_named_in_one_line(tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # -S: no site-packages
    bare.chmod(0o755)
    result = data_sh(tmp_path, "--size", "tiny", PYTHON=str(bare))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert f"{bare} lacks" in result.stderr and "PYTHON" in result.stderr


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--nj", "0"], "expected a whole number of 1 or more, found '0'"),
        (["--nj", "many"], "expected a whole number of 1 or more, found 'many'"),
        (["--size", "huge"], "invalid choice: 'huge'"),
        (["--speed", "1"], "unrecognized arguments: --speed"),
    ],
)
def test_bad_options_are_refused(tmp_path, arguments, complaint):
    result = prepare_here("mini_2mix", tmp_path, arguments, os.environ)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert not list(tmp_path.iterdir())


def test_another_corpus_in_the_folder_is_refused_in_one_line(tiny, tiny_corpus):
    recipe, _ = tiny
    before = (tiny_corpus / "corpus.json").read_bytes()
    options = ["--size", "quick", "--corpus", str(tiny_corpus)]
    result = prepare_here("mini_2mix", recipe, options, os.environ)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "holds another corpus (size tiny" in result.stderr and "--corpus" in result.stderr
    assert (tiny_corpus / "corpus.json").read_bytes() == before


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_its_processes_and_can_be_repeated(tmp_path, told):
    process = subprocess.Popen(
        [LOCAL / "data.sh", "--size", "quick", "--nj", "2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHON": sys.executable},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    corpus = tmp_path / "downloads" / "mini_quick_0"
    while not list(corpus.glob("utterances/*/text")):  # until the first voice is finished
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    # Ctrl-C reaches every process of the terminal, an ended job only the main one.
    (os.killpg if told == signal.SIGINT else os.kill)(process.pid, told)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not (tmp_path / "data").exists()
    for path in corpus.glob("utterances/*/*.wav"):  # existing files are complete
        assert len(read_speech(path)) >= 2.5 * SAMPLE_RATE
    for _ in range(1000):  # every process of the run ends
        if not living_processes(process.pid):
            break
        time.sleep(0.02)
    assert not living_processes(process.pid)


# --- the mixtures -----------------------------------------------------------------------------


def test_max_mixtures_hold_every_word_and_its_transcript(trial):
    paths = trial / "corpus", trial / "data"
    made = make_corpus(TRIAL, 0, *paths, trial, 1, suffix="_max", mode="max")
    assert "data/train_singles_max 16" in made.replace(f"{trial}/", "")
    said = read_scp(trial / "corpus/text")
    data = trial / "data/train_max"
    texts = [read_scp(data / f"text_spk{number}") for number in (1, 2)]
    singles = read_scp(trial / "data/train_singles_max/wav.scp")
    assert singles.keys() == read_scp(trial / "data/train_singles_max/text").keys()
    for mixture in make_plan(TRIAL, 0, flite=[]).by_set["train"]:
        utterances = [read_speech(trial / singles[name]) for name in mixture.utterances]
        for number, utterance in enumerate(utterances):
            source = read_speech(trial / read_scp(data / f"spk{number + 1}.scp")[mixture.key])
            assert len(source) == max(map(len, utterances))
            heard = source[: len(utterance)]
            assert np.corrcoef(heard, utterance)[0, 1] > 0.9999
            assert not source[len(utterance) :].any()
            words = texts[number][mixture.key]
            spoken = said[mixture.utterances[number]].lower()
            assert words.split()[0] == spoken.split()[0].strip(",") and words == words.lower()
    # the mixtures of the other mode stay
    assert read_scp(trial / "data/train/wav.scp").keys() == read_scp(data / "wav.scp").keys()
    assert not (trial / "data/train/text_spk1").exists()


def test_mixtures_follow_the_rules_of_wsj0_2mix(tiny_corpus):
    plan = make_plan(SIZES["tiny"], 0, flite=[])
    loudness = []
    for mixture in plan.mixtures[:60] + plan.mixtures[-16:]:
        paths = mixtures.signal_paths(tiny_corpus, mixture)
        assert soundfile.info(paths["mix"]).subtype == "PCM_16"
        mix, s1, s2 = (read_speech(paths[name]).astype(int) for name in ("mix", "s1", "s2"))
        utterances = [
            read_speech(synthesis.utterance_path(tiny_corpus, s, u))
            for s, u in zip(mixture.speakers, mixture.utterances, strict=True)
        ]
        # min: cut to the shorter one, from the start
        assert len(mix) == len(s1) == len(s2) == min(len(u) for u in utterances)
        for source, utterance in zip((s1, s2), utterances, strict=True):
            likeness = np.corrcoef(source, utterance[: len(source)])[0, 1]
            assert likeness > 0.9999
        assert np.abs(mix - s1 - s2).max() <= 2
        assert max(np.abs(x).max() for x in (mix, s1, s2)) == round(0.9 * 32768)
        level1, level2 = (10 * np.log10(levels.frame_level(s, SAMPLE_RATE)) for s in (s1, s2))
        snr1, snr2 = map(float, mixture.snrs)
        # relative to the level between both: +snr1 and -snr1 dB
        assert (level1 - level2) / 2 == pytest.approx(snr1, abs=0.01)
        assert snr2 == -snr1 and abs(snr1) <= 2.5
        loudness.append(snr1)
    assert min(loudness) < -1.5 and max(loudness) > 1.5 and abs(np.mean(loudness)) < 0.7


def test_mixing_two_tones_gives_the_known_levels():
    n = np.arange(8000)
    tone1 = 0.1 * np.sin(2 * np.pi * 500 * n / 8000)
    tone2 = 0.7 * np.sin(2 * np.pi * 1000 * n[:6000] / 8000)
    signals = mixtures.mix(tone1, tone2, (2.0, -2.0))
    assert {len(x) for x in signals.values()} == {6000}
    assert signals["s1"].max() / signals["s2"].max() == pytest.approx(10 ** (4 / 20), rel=1e-3)
    assert np.abs(signals["mix"]).max() == round(0.9 * 32768)


def test_frame_level_leaves_out_silence():
    tone = np.sin(2 * np.pi * 400 * np.arange(8000) / 8000)
    silence = np.zeros(12000)
    assert levels.frame_level(tone, 8000) == pytest.approx(0.5, rel=1e-3)
    assert levels.frame_level(np.concatenate([silence, tone]), 8000) == pytest.approx(0.5, rel=0.03)
    with pytest.raises(ValueError, match="silent"):
        levels.frame_level(silence, 8000)


def test_trimming_keeps_the_speech_and_a_short_margin():
    tone = np.sin(2 * np.pi * 400 * np.arange(8000) / 8000)
    padded = np.concatenate([np.zeros(4000), tone, np.full(6000, 1e-4)])
    trimmed = levels.trim_silence(padded, 8000)
    assert 8000 <= len(trimmed) <= 8000 + 2 * (240 + 160)  # margins and frames of 30 and 20 ms
    assert np.array_equal(trimmed, padded[4000 - 240 :][: len(trimmed)])
    assert np.array_equal(levels.trim_silence(tone, 8000), tone)


# --- the speech -------------------------------------------------------------------------------


def test_utterances_are_speech_of_fitting_length(tiny_corpus):
    paths = sorted(tiny_corpus.glob("utterances/*/*.wav"))
    assert len(paths) == 192
    for path in paths[::9]:
        speech = read_speech(path)
        assert 2.0 <= len(speech) / SAMPLE_RATE <= 3.0
        assert np.abs(speech).max() == pytest.approx(0.9 * 32768, abs=2)
        frames = speech[: len(speech) // 200 * 200].reshape(-1, 200) * np.hanning(200)
        spectrum = np.abs(np.fft.rfft(frames)) ** 2  # bins of 40 Hz
        bands = [spectrum[:, low : low + 25].sum() for low in range(0, 100, 25)]
        assert min(bands) > 1e-5 * sum(bands), f"{path}: a band of 1 kHz is empty"
        # speech rises and falls: the loudest tenth of the frames is far above the quietest
        loud, quiet = np.percentile(spectrum.sum(axis=1), [90, 10])
        assert loud > 20 * quiet


def test_high_voices_are_higher_than_low_ones(tiny_corpus):
    pitch = {"low": [], "high": []}
    for voice in table(tiny_corpus / "voices.tsv"):
        path = sorted((tiny_corpus / "utterances" / voice["speaker"]).glob("*.wav"))[0]
        kind = "high" if voice["variant"] in voices.HIGH_VARIANTS else "low"
        pitch[kind].append(pitch_hz(read_speech(path)))
    assert len(pitch["low"]) == len(pitch["high"]) == 20
    assert 70 < np.median(pitch["low"]) < 140 < 165 < np.median(pitch["high"]) < 300
    assert min(pitch["low"]) < 100 and max(pitch["high"]) > 240


def test_the_pitch_of_a_voice_is_heard(tmp_path):
    voice = voices.plan_voices(12, 0)[0]
    heard = []
    for pitch in (20, 50, 80):
        with synthesis._espeak(replace(voice, accent="en", variant="m3", pitch=pitch)) as speak:
            samples, sample_rate = speak("Our neighbor wanted a yellow melon on Monday morning.")
        assert sample_rate == 22050
        heard.append(pitch_hz(samples[:: round(sample_rate / SAMPLE_RATE)]))
    assert heard[0] < 0.85 * heard[1] < 0.85 * 0.85 * heard[2]


def test_a_voice_that_the_engine_lacks_is_named(tmp_path):
    voice = replace(voices.plan_voices(12, 0)[0], accent="xx-nowhere")
    with pytest.raises(TisdissError, match=r"no voice 'xx-nowhere\+"):
        synthesis.speak_utterances(tmp_path, (voice, ["a"]), TRIAL, 0)


@pytest.mark.parametrize(
    ("distribution", "module"),
    [("espeakng-loader", "espeakng_loader"), ("pyroomacoustics", "pyroomacoustics")],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    distribution, module, monkeypatch
):
    require_package(distribution, "the corpus")  # installed
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(TisdissError, match=f"pip install {distribution}"):
        require_package(distribution, "the corpus")


# --- the plan ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("seed", [0, 7])
def test_voices_are_distinct_and_splits_have_low_and_high_ones(size, seed):
    cast = voices.plan_voices(size.voices, seed)
    assert len({v.speaker for v in cast}) == len(cast) == size.voices
    assert len({(v.accent, v.variant) for v in cast}) == size.voices
    # of about 3 semitones in 18 steps; the largest size has 19 voices of some variants
    apart = 1 if size.voices > 240 else 2
    for one, other in itertools.combinations(cast, 2):
        assert one.variant != other.variant or abs(one.pitch - other.pitch) >= apart
    for split in ("valid", "test"):
        members = [v for v in cast if v.split == split]
        assert len(members) == max(4, size.voices // 10)
        assert 2 <= sum(v.variant in voices.HIGH_VARIANTS for v in members) <= len(members) - 2


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_every_utterance_is_mixed_once_with_another_speaker(size):
    plan = make_plan(size, 3, flite=[])
    mixed = [u for m in plan.mixtures for u in m.utterances]
    tests = len(plan.by_set) - 2
    assert len(mixed) == len(set(mixed)) == 2 * (size.train + size.valid + tests * size.test)
    split_of = {v.speaker: v.split for v in plan.voices}
    for mixture in plan.mixtures:
        first, second = mixture.speakers
        assert first != second
        assert split_of[first] == split_of[second] == mixture.split
    turns = [len(u) for s, u in plan.utterances.items() if split_of[s] == "train"]
    assert max(turns) - min(turns) <= 1


def test_a_speaker_in_two_splits_is_found(tmp_path):
    levels_ = ("1.0000", "-1.0000")
    train = Mixture("train", ("e1", "e2"), ("e1u1", "e2u1"), levels_)
    test = Mixture("test", ("e3", "e2"), ("e3u1", "e2u2"), levels_)
    for by_set, message in (
        ({"train": [train], "test": [test]}, "speaker e2 is in train and, .* in the test set test"),
        ({"train": [train, train]}, "train: mixture .* is there twice"),
        ({"train": [replace(train, speakers=("e1", "e1"))]}, "mixes a speaker with itself"),
    ):
        with pytest.raises(TisdissError, match=message):
            make_data_dirs(tmp_path / "corpus", tmp_path / "data", tmp_path, by_set, "")
    assert not list(tmp_path.iterdir())


def test_no_text_is_spoken_in_two_splits(tiny_corpus):
    text = read_scp(tiny_corpus / "text")
    split_of = {v["speaker"]: v["split"] for v in table(tiny_corpus / "voices.tsv")}
    spoken = {split: set() for split in SPLITS}
    for utterance, words in text.items():
        spoken[split_of[utterance.split("u")[0]]].add(words)
        assert words[0].isupper() and words[-1] in ".?"
        assert sentences.split_of(words) == split_of[utterance.split("u")[0]]
    assert len(spoken["train"]) > 145  # of 160: hardly any sentence twice
    for one, other in itertools.combinations(spoken.values(), 2):
        assert not one & other


def test_sentences_are_many_and_every_split_gets_its_share():
    rng = sentences.Random("words")
    drawn = {sentences.sentence(rng) for _ in range(3000)}
    assert len(drawn) > 2800
    shares = [sum(sentences.split_of(s) == split for s in drawn) for split in SPLITS]
    assert np.allclose(np.array(shares) / len(drawn), [0.8, 0.1, 0.1], atol=0.03)
    assert len({word for s in drawn for word in s.lower().strip(".?").split()}) > 600


# --- made again, resumed, checked -------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_with_one_process_or_two(trial, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    make_trial(other, processes=2)
    assert contents(trial) == contents(other)


def test_another_seed_gives_another_corpus(trial, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    make_trial(other, seed=1)
    voices_of = [(folder / "corpus" / "voices.tsv").read_text() for folder in (trial, other)]
    assert voices_of[0] != voices_of[1]
    mixes = [{p.name for p in f.glob("corpus/wav8k/min/*/mix/*.wav")} for f in (trial, other)]
    assert len(mixes[0]) == len(mixes[1]) == 16 and not mixes[0] & mixes[1]


def test_only_what_is_missing_is_made_again(trial):
    before = contents(trial)
    made = {path: path.stat().st_mtime_ns for path in (trial / "corpus").rglob("*.wav")}
    mix, source, utterance = (
        sorted((trial / "corpus").glob(pattern))[0]
        for pattern in ("wav8k/min/tr/mix/*.wav", "wav8k/min/cv/s2/*.wav", "utterances/*/*.wav")
    )
    for path in (mix, source, utterance):
        path.unlink()
    # what a killed run leaves: half a file under its temporary name, a voice half-way
    half = mix.with_name(".aside-half.wav")
    half.write_bytes(before[mix.relative_to(trial)][:1000])
    make_trial(trial)
    half.unlink()
    assert contents(trial) == before
    again = {p for p, time_ns in made.items() if p.stat().st_mtime_ns != time_ns}
    voice = set(utterance.parent.glob("*.wav"))
    triples = {p.parents[1] / s / p.name for p in (mix, source) for s in mixtures.SIGNALS}
    assert again == voice | triples


@pytest.mark.parametrize("kind", ["int16", "float32", "float64"])
def test_a_file_is_to_the_bit_what_soundfile_writes(tmp_path, kind):
    rng = np.random.default_rng(0)
    signal = rng.uniform(-0.9, 0.9, 80001)
    signal = (32768 * signal).astype(kind) if kind == "int16" else signal.astype(kind)
    write_speech(tmp_path / "ours.wav", signal)
    soundfile.write(tmp_path / "soundfile.wav", signal, SAMPLE_RATE, subtype="PCM_16")
    assert (tmp_path / "ours.wav").read_bytes() == (tmp_path / "soundfile.wav").read_bytes()


def test_a_file_that_cannot_be_written_is_told_with_the_systems_reason(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(TisdissError, match="folder.wav: cannot be written: Is a directory$"):
        write_speech(tmp_path / "folder.wav", np.zeros(8, np.int16))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.wav"]


def _truncate(path):
    path.write_bytes(path.read_bytes()[:20])


def _change_a_sample(path):
    samples = read_speech(path)
    samples[100] += 5
    write_speech(path, samples)


def _shorten(path):
    write_speech(path, read_speech(path)[:-1])


def _resample(path):
    soundfile.write(path, read_speech(path), 16000)


def _silence(path):
    soundfile.write(path, np.zeros(len(read_speech(path))), SAMPLE_RATE, subtype="PCM_16")


@pytest.mark.parametrize(
    "signal_name, damage, complaint",
    [
        ("mix", _truncate, "not readable"),
        ("mix", _change_a_sample, r"sample 100 is [3-7] steps off s1 \+ s2"),
        ("s1", _shorten, "samples, but its mixture has"),
        ("s2", _resample, "expected one channel at 8000 Hz"),
        ("s2", _silence, "silent"),
    ],
)
def test_a_damaged_file_is_named_and_the_data_stay_as_they_were(
    trial, signal_name, damage, complaint
):
    before = contents(trial)
    damaged = sorted((trial / "corpus").glob(f"wav8k/min/tr/{signal_name}/*.wav"))[3]
    damage(damaged)
    with pytest.raises(TisdissError, match=complaint) as caught:
        make_trial(trial)
    assert str(damaged) in str(caught.value) and "\n" not in str(caught.value)
    assert contents(trial / "data") == {
        path.relative_to("data"): data for path, data in before.items() if path.parts[0] == "data"
    }
    damaged.unlink()  # as the message says
    make_trial(trial)
    assert contents(trial) == before


def test_a_corpus_outside_the_recipe_is_listed_with_absolute_paths(trial, tmp_path_factory):
    make_trial(trial, recipe=tmp_path_factory.mktemp("recipe"))
    for path in read_scp(trial / "data" / "valid" / "spk2.scp").values():
        assert Path(path).is_absolute() and Path(path).is_file()


# --- flite ------------------------------------------------------------------------------------


def test_flite_joins_the_training_voices_only(trial, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("with flite")
    put_program(folder / "bin", "flite", FLITE)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    make_trial(folder)
    assert {v["speaker"]: v["split"] for v in table(folder / "corpus" / "voices.tsv")}.items() >= {
        "fkal": "train",
        "frms": "train",
        "fslt": "train",
    }.items()
    assert "fslt" in (folder / "data" / "train" / "utt2spk").read_text()
    for held_out in ("data/valid", "data/test", "corpus/wav8k/min/cv", "corpus/wav8k/min/tt"):
        assert contents(folder / held_out) == contents(trial / held_out)
    put_program(folder / "bin", "flite", NO_VOICES)
    with pytest.raises(TisdissError, match="begun with flite's voices"):
        make_trial(folder)
