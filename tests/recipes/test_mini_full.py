"""The full size of mini_2mix's corpus: other engines, rooms, noise, and a test set for each."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import soxr
import yaml
from mini_corpus import (
    FESTIVAL,
    FLITE,
    NO_VOICES,
    contents,
    data_sh,
    pitch_hz,
    put_program,
    table,
    use_engines,
)
from recipe_folder import REPOSITORY, copy_recipe, read_data_dir

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.mixing.levels import frame_level
from espnet2_tisdiss.recipes.mini_2mix import (
    festival,
    flite,
    mixtures,
    noises,
    rooms,
    sentences,
    synthesis,
)
from espnet2_tisdiss.recipes.mini_2mix.plan import make_plan
from espnet2_tisdiss.recipes.mini_2mix.prepare import make_corpus
from espnet2_tisdiss.recipes.mini_2mix.sizes import BOTH, CLEAN, NOISY, REVERBERANT, SIZES
from espnet2_tisdiss.recipes.mini_2mix.speech_files import SAMPLE_RATE, read_speech, write_speech

FULL = SIZES["full"]
TRIAL = replace(
    FULL,
    name="trial",
    voices=12,
    train=8,
    valid=2,
    test=2,
    min_seconds=1.5,
    max_seconds=2.5,
    flite_versions=2,
    conditions=tuple((condition, 1.0) for condition in (CLEAN, REVERBERANT, NOISY, BOTH)),
)
SETS = ("train", "valid", "test_voices", "test_engines", "test_noisy", "test_reverb")
LISTS = ("wav.scp", "spk1.scp", "spk2.scp", "utt2spk")


def make_trial(folder, processes=1):
    """Make the trial corpus in ``folder/corpus`` and its data directories in ``folder/data``."""
    return make_corpus(TRIAL, 0, folder / "corpus", folder / "data", folder, processes)


def read_mixture(corpus, mixture):
    """The samples of a mixture, its sources and its utterances, as float."""
    paths = mixtures.signal_paths(corpus, mixture)
    signals = [read_speech(paths[name]).astype(float) for name in mixtures.SIGNALS]
    said = zip(mixture.speakers, mixture.utterances, strict=True)
    return *signals, [read_speech(synthesis.utterance_path(corpus, *who)) for who in said]


@pytest.fixture
def engines(tmp_path, monkeypatch):
    """A folder on PATH with flite and festival of a few voices."""
    folder = tmp_path / "bin"
    use_engines(monkeypatch, folder, FLITE, FESTIVAL)
    return folder


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A folder in which the trial corpus was made, and what the program said; not to be changed."""
    folder = tmp_path_factory.mktemp("trial")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_engines(monkeypatch, tmp_path_factory.mktemp("bin"), FLITE, FESTIVAL)
        return folder, make_trial(folder)


@pytest.fixture(scope="module")
def plan(trial):
    """The plan of the trial corpus."""
    note = json.loads((trial[0] / "corpus" / "corpus.json").read_text())
    return make_plan(TRIAL, 0, note["flite"], note["festival"])


# --- the plan ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full_plan():
    return make_plan(FULL, 0, flite.VOICES, list(festival.VOICES))


def test_a_third_of_the_training_speech_is_of_human_origin(full_plan):
    engine = {voice.speaker: voice.engine for voice in full_plan.voices}
    heard = Counter(engine[s] for m in full_plan.by_set["train"] for s in m.speakers)
    assert set(heard) == {"espeak-ng", "flite"}
    assert heard["flite"] / heard.total() == pytest.approx(1 / 3, abs=0.01)


def test_no_one_is_mixed_with_another_version_of_themselves(full_plan):
    person = {voice.speaker: voice.person for voice in full_plan.voices}
    assert len({p for p in person.values() if p.startswith("flite")}) == 4
    assert all(person[m.speakers[0]] != person[m.speakers[1]] for m in full_plan.mixtures)


def test_training_and_validation_meet_every_condition(full_plan):
    for name, tolerance in (("train", 0.02), ("valid", 0.08)):
        members = full_plan.by_set[name]
        found = Counter((m.place is not None, m.noise is not None) for m in members)
        shares = {condition: count / len(members) for condition, count in found.items()}
        assert shares[False, False] == pytest.approx(0.6, abs=tolerance)
        for other in ((True, False), (False, True), (True, True)):
            assert shares[other] == pytest.approx(0.4 / 3, abs=tolerance)


def test_each_test_set_has_its_voices_and_one_condition(full_plan):
    voice = {v.speaker: v for v in full_plan.voices}
    expected = {
        "test_voices": ("espeak-ng", False, False),
        "test_engines": ("festival", False, False),
        "test_noisy": ("espeak-ng", False, True),
        "test_reverb": ("espeak-ng", True, False),
    }
    for name, (engine, reverberant, noisy) in expected.items():
        members = full_plan.by_set[name]
        assert len(members) == 100
        assert {voice[s].engine for m in members for s in m.speakers} == {engine}
        assert {voice[s].split for m in members for s in m.speakers} == {"test"}
        assert {(m.place is not None, m.noise is not None) for m in members} == {
            (reverberant, noisy)
        }
    trained = {v.variant for v in full_plan.voices if v.split == "train"}
    assert not trained & set(festival.VOICES)


def test_splits_share_no_room_and_babble_is_of_training_voices(full_plan):
    used = {}
    for mixture in full_plan.mixtures:
        if mixture.place:
            used.setdefault(mixture.split, set()).add(mixture.place.room)
            assert mixture.place.positions[0] != mixture.place.positions[1]
    assert not used["train"] & used["test"] and not used["train"] & used["valid"]
    assert len(used["train"]) > 200 and len(used["test"]) > 30
    training = {v.speaker for v in full_plan.voices if v.split == "train"}
    noisy = [m for m in full_plan.mixtures if m.noise]
    assert {kind for m in noisy for kind in m.noise.kinds} == set(noises.KINDS)
    for mixture in noisy:
        assert 5 <= mixture.noise.snr_db <= 20
        assert bool(mixture.noise.babble) == ("babble" in mixture.noise.kinds)
        crowd = {speaker for speaker, _ in mixture.noise.babble}
        assert crowd <= training and not crowd & set(mixture.speakers)


# --- the files --------------------------------------------------------------------------------


def test_every_set_is_made_and_told(trial, plan):
    folder, told = trial
    assert {path.name for path in (folder / "data").iterdir()} == set(SETS)
    for name in SETS:
        lists = read_data_dir(folder / "data" / name, LISTS)
        assert len(lists["wav.scp"]) == {"train": 8}.get(name, 2)
        assert f"{name} {len(lists['wav.scp'])}" in told
        assert all((folder / path).is_file() for path in lists["spk2.scp"].values())
    corpus = folder / "corpus"
    assert {v["engine"] for v in table(corpus / "voices.tsv")} == {"espeak-ng", "flite", "festival"}
    assert (corpus / "mix_2_spk_tt_engines.txt").read_text().count("\n") == 2
    listed = {row["mixture"]: row for row in table(corpus / "scenes_tt_noisy.tsv")}
    assert listed.keys() == {m.name for m in plan.by_set["test_noisy"]}
    for mixture in plan.by_set["test_noisy"]:
        assert listed[mixture.name]["noise"] == "+".join(mixture.noise.kinds)


def test_sources_are_as_they_reach_the_microphone(trial, plan):
    corpus = trial[0] / "corpus"
    reverberant = 0
    for mixture in plan.mixtures:
        _, *sources, said = read_mixture(corpus, mixture)
        length = min(map(len, said))
        for index, source in enumerate(sources):
            expected = said[index][:length].astype(float)
            if mixture.place:
                response = np.load(corpus / "rooms" / f"{mixture.place.room}.npy")
                response = response[mixture.place.positions[index]]
                expected = np.convolve(said[index], response)[:length]
                reverberant += 1
            assert len(source) == length
            assert np.corrcoef(source, expected)[0, 1] > 0.9999
        level1, level2 = (10 * np.log10(frame_level(s, SAMPLE_RATE)) for s in sources)
        assert (level1 - level2) / 2 == pytest.approx(float(mixture.snrs[0]), abs=0.01)
    assert reverberant >= 8


def test_mixtures_are_the_sources_and_the_noise_at_its_level(trial, plan):
    noisy = 0
    for mixture in plan.mixtures:
        mix, s1, s2, _ = read_mixture(trial[0] / "corpus", mixture)
        assert max(np.abs(x).max() for x in (mix, s1, s2)) == round(0.9 * 32768)
        rest = mix - s1 - s2
        if mixture.noise is None:
            assert np.abs(rest).max() <= 2
        else:
            snr = 10 * np.log10(frame_level(s1 + s2, SAMPLE_RATE) / np.mean(rest**2))
            assert snr == pytest.approx(mixture.noise.snr_db, abs=0.05)
            noisy += 1
    assert noisy >= 5


@pytest.fixture
def copy(trial, engines, tmp_path):
    """A copy of the trial's folder that may be changed."""
    shutil.copytree(trial[0], tmp_path / "copy")
    return tmp_path / "copy"


def test_what_is_lost_is_made_again_to_the_bit_with_two_processes(copy):
    before = contents(copy)
    corpus = copy / "corpus"
    for lost in (corpus / "utterances", corpus / "wav8k", copy / "data"):
        shutil.rmtree(lost)
    for room in sorted((corpus / "rooms").iterdir())[::3]:
        room.unlink()
    make_trial(copy, processes=2)
    assert contents(copy) == before


def test_noise_at_another_level_is_found(copy, plan):
    mixture = plan.by_set["test_noisy"][0]
    paths = mixtures.signal_paths(copy / "corpus", mixture)
    mix, s1, s2 = (read_speech(paths[name]) for name in mixtures.SIGNALS)
    write_speech(paths["mix"], s1 + s2 + (mix - s1 - s2) // 2)
    with pytest.raises(TisdissError, match=r"its noise is \d+\.\d\d dB below s1 \+ s2") as caught:
        make_trial(copy)
    assert str(paths["mix"]) in str(caught.value)


def test_a_damaged_room_is_named(copy):
    room = sorted((copy / "corpus" / "rooms").glob("test*.npy"))[0]
    room.write_bytes(room.read_bytes()[:100])
    shutil.rmtree(copy / "corpus" / "wav8k")
    with pytest.raises(TisdissError, match="remove this file and run again") as caught:
        make_trial(copy)
    assert str(room) in str(caught.value)


# --- engines that are installed or not --------------------------------------------------------


def test_without_the_engines_their_sets_are_left_out_and_it_is_said(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    use_engines(monkeypatch, folder, NO_VOICES, NO_VOICES)
    told = make_trial(tmp_path)
    assert {path.name for path in (tmp_path / "data").iterdir()} == set(SETS) - {"test_engines"}
    lines = told.split("\n")
    assert any("flite" in line and "from espeak-ng" in line for line in lines)
    assert any("festival" in line and "test_engines is not made" in line for line in lines)
    # fixed when the corpus was begun
    use_engines(monkeypatch, folder, FLITE, FESTIVAL)
    before = contents(tmp_path / "data")
    make_trial(tmp_path)
    assert contents(tmp_path / "data") == before


def test_an_engine_that_is_gone_is_named(copy, engines):
    put_program(engines, "festival", NO_VOICES)
    with pytest.raises(TisdissError, match="begun with festival's voices.* no longer has czech_ph"):
        make_trial(copy)


def test_the_test_sets_are_listed_without_making_them(engines, tmp_path):
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    options = ("--size", "full", "--suffix", "_full_0", "--list_test_sets")
    listed = data_sh(recipe, *options)
    names = "test_voices_full_0 test_engines_full_0 test_noisy_full_0 test_reverb_full_0"
    assert (listed.returncode, listed.stdout) == (0, f"{names}\n")
    assert not list(recipe.iterdir())
    put_program(engines, "festival", NO_VOICES)
    assert (
        data_sh(recipe, *options).stdout
        == "test_voices_full_0 test_noisy_full_0 test_reverb_full_0\n"
    )


def test_run_sh_takes_the_sets_that_there_are(engines, tmp_path):
    recipe = copy_recipe("mini_2mix", tmp_path)
    (tmp_path / "local").unlink()
    (tmp_path / "local").mkdir()
    for path in (REPOSITORY / "local").iterdir():
        (tmp_path / "local" / path.name).symlink_to(path)
    (tmp_path / "local" / "enh.sh").unlink()
    put_program(tmp_path / "local", "enh.sh", '#!/bin/sh\nprintf "%s\\n" "$@"\n')
    put_program(engines, "festival", NO_VOICES)
    command = [recipe / "run.sh", "--python", sys.executable, "--size", "full", "--stage", "5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given["--test_sets"] == "test_voices_full_0 test_noisy_full_0 test_reverb_full_0"
    assert given["--train_set"] == "train_full_0" and given["--n_re"] == "1 2 3 4 5 6 7 8"
    assert given["--python"] == sys.executable and given["--stage"] == "5"
    assert given["--enh_config"] == "conf/train_full.yaml"


def test_versions_of_a_voice_have_the_pitch_rate_and_tract_that_are_planned(engines):
    text = "The old judge measured the yellow basket near the old mill."
    cast = flite.plan_voices(["kal", "slt"], 12, 0)
    assert len({(v.pitch, v.tract) for v in cast}) == len({v.speaker for v in cast}) == 24
    for voice in cast[::3]:
        with flite.engine(voice) as speak:
            samples, sample_rate = speak(text)
        assert sample_rate == pytest.approx(16000 * 100 / voice.tract)
        assert len(samples) / sample_rate == pytest.approx(
            0.05 * len(text) * voice.rate / 100, rel=0.001
        )
        heard = pitch_hz(soxr.resample(samples, sample_rate, SAMPLE_RATE))
        assert heard == pytest.approx(voice.pitch, rel=0.03)
    tracts = [voice.tract for voice in cast]
    assert 88 <= min(tracts) < 95 < 105 < max(tracts) <= 112


def test_festival_is_given_any_text_as_text_alone(engines):
    (voice,) = festival.plan_voices(["ked_diphone"])
    with festival.engine(voice) as speak:
        for text in ('He said "stop".', r"A back\slash.", '") (system "touch x") ("'):
            samples, sample_rate = speak(text)
            assert len(samples) / sample_rate > 0.04 * len(text) - 0.01


def test_festival_s_failure_is_one_line(engines):
    put_program(engines, "festival", "#!/bin/sh\necho SIOD ERROR: no such voice >&2\nexit 255\n")
    (voice,) = festival.plan_voices(["lp_diphone"])
    with festival.engine(voice) as speak, pytest.raises(TisdissError) as caught:
        speak("Oggi piove.")
    assert "lp_diphone" in str(caught.value) and "no such voice" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not flite.installed(), reason="flite is not installed")
def test_real_flite_speaks_at_the_pitch_that_is_planned():
    text = "Our neighbor wanted a yellow melon on Monday morning."
    for name in set(flite.installed()) & set(flite.PITCHES):
        low, *_, high = flite.plan_voices([name], 12, 0)
        for voice in (low, high):
            with flite.engine(voice) as speak:
                samples, sample_rate = speak(text)
            heard = pitch_hz(soxr.resample(samples, sample_rate, SAMPLE_RATE))
            assert heard == pytest.approx(voice.pitch, rel=0.15)


@pytest.mark.skipif(not festival.installed(), reason="festival is not installed")
def test_real_festival_reads_each_language():
    rng = synthesis.Random(0)
    for voice in festival.plan_voices(festival.installed()):
        with festival.engine(voice) as speak:
            text = synthesis._draw_sentence(voice, rng)
            samples, sample_rate = speak(text)
        # at the speed of speech: spelt letters take far longer
        assert 8 < len(text) / (len(samples) / sample_rate) < 25
        assert np.abs(samples).max() > 0.05


# --- sentences, rooms, noises -----------------------------------------------------------------


@pytest.mark.parametrize(
    "language", sorted({lang for _, lang in festival.VOICES.values()} - {"en-us"})
)
def test_foreign_sentences_are_many_and_can_be_read(language):
    rng = synthesis.Random(language)
    drawn = {sentences.foreign_sentence(language, rng) for _ in range(300)}
    assert len(drawn) > 290
    for text in drawn:
        assert 30 < len(text) < 100 and text[0].isupper() and text[-1] == "."
        assert text.encode(festival.ENCODINGS[language])
        assert all(letter.isalpha() or letter in " ." for letter in text)


def decay_seconds(response):
    """Time to fall by 60 dB, from the slope between -5 and -25 dB of the backward integral."""
    energy = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
    level = 10 * np.log10(energy[energy > 0] / energy[0])
    start, end = (np.flatnonzero(level <= drop)[0] for drop in (-5, -25))
    return 3 * (end - start) / SAMPLE_RATE


def test_rooms_reverberate_as_rooms_do_and_begin_with_the_direct_sound(trial):
    corpus = trial[0] / "corpus"
    found = []
    for path in (corpus / "rooms").iterdir():
        responses = rooms.read_responses(corpus, path.stem)
        for response in responses:
            loud = np.flatnonzero(np.abs(response) > 0.2 * np.abs(response).max())
            assert loud[0] <= 10
            found.append(decay_seconds(response))
        assert len({response.tobytes() for response in responses}) == rooms.POSITIONS
    assert 0.08 < min(found) < 0.3 < max(found) < 0.8


def spectrum_shares(signal, edges):
    """Share of the power between each two neighbouring frequencies, in hertz."""
    power = np.abs(np.fft.rfft(signal)) ** 2
    frequency = np.fft.rfftfreq(len(signal), 1 / SAMPLE_RATE)
    bands = [power[(frequency >= low) & (frequency < high)].sum() for low, high in edges]
    return np.array(bands) / power.sum()


def test_noises_sound_as_they_are_called():
    length = 4 * SAMPLE_RATE
    speech = [np.random.default_rng(i).standard_normal(9000) * (i + 1) for i in range(8)]
    made = {
        kind: [noises.make_noise([kind], length, str(seed), speech) for seed in range(6)]
        for kind in noises.KINDS
    }
    for signals in made.values():
        for signal in signals:
            assert signal.shape == (length,)
            assert np.mean(signal**2) == pytest.approx(1)
        assert not np.array_equal(signals[0], signals[1])
    for signal in made["coloured"]:
        low, high = spectrum_shares(signal, [(0, 2000), (2000, 4000)])
        assert low > 0.95 * high
    peak = {kind: np.mean([np.abs(s).max() for s in signals]) for kind, signals in made.items()}
    assert peak["crackle"] > 2 * peak["coloured"]
    for signal in made["hum"]:
        power = np.sort(np.abs(np.fft.rfft(signal)) ** 2)[::-1]
        assert power[:200].sum() > 0.95 * power.sum()  # in lines; 8000 bins in all
    # all voices of the babble are equally loud
    for signal in made["babble"]:
        for voice in speech:
            spectrum = np.fft.rfft(signal[:9000]).conj() * np.fft.rfft(voice)
            likeness = np.abs(np.fft.irfft(spectrum)).max() / (
                np.linalg.norm(signal[:9000]) * np.linalg.norm(voice)
            )
            assert likeness == pytest.approx(1 / np.sqrt(8), abs=0.06)


def test_the_same_seed_makes_the_same_noise():
    one, same, other = (
        noises.make_noise(["hum", "crackle"], 8000, seed, []) for seed in ("a", "a", "b")
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_noise_is_added_at_the_level_that_is_asked_for():
    time = np.arange(8000) / SAMPLE_RATE
    tones = [np.sin(2 * np.pi * frequency * time) for frequency in (500, 1000)]
    noise = 3 * np.sin(2 * np.pi * 2000 * time)
    signals = mixtures.mix(*tones, (0.0, 0.0), (noise, 10.0))
    rest = signals["mix"].astype(float) - signals["s1"] - signals["s2"]
    speech = signals["s1"].astype(float) + signals["s2"]
    assert 10 * np.log10(np.mean(speech**2) / np.mean(rest**2)) == pytest.approx(10, abs=0.01)


# the model of the package, made from it


def bundle_sh(*words, **options):
    return subprocess.run(
        [shutil.which("bash"), REPOSITORY / "egs2/mini_2mix/enh1/bundle.sh", *words],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_the_model_card_tells_what_the_corpus_holds():
    about = yaml.safe_load((REPOSITORY / "egs2/mini_2mix/enh1/local/about.yaml").read_text())
    said = about["trained_on"]
    plan = make_plan(FULL, 0, ("awb", "kal", "rms", "slt"), ("ked_diphone",))
    voices = Counter(voice.engine for voice in plan.voices if voice.split == "train")
    mixed = sum(mixture.set_name == "train" for mixture in plan.mixtures)
    assert f"{mixed} mixtures" in said
    assert f"{voices['espeak-ng']} voices of the synthesiser espeak-ng" in said
    assert f"and {voices['flite']} versions of the four voices of flite" in " ".join(said.split())


@pytest.mark.parametrize(
    "words",
    [
        ["--seed", "1"],
        ["--size=tiny"],
        ["--nj=2", "--speed_perturb_factors", "0.9 1.0"],
        ["--inference_model", "last.pth"],
        ["more"],
    ],
)
def test_the_package_s_model_has_one_recipe(words):
    done = bundle_sh(*words)
    assert done.returncode == 1
    refused = next(word for word in words if not word.startswith("--nj"))
    assert done.stderr.startswith(f"bundle.sh: {refused}: is none of its options (see --help)")


def test_the_package_s_model_is_not_made_without_its_engines(tmp_path):
    (tmp_path / "dirname").symlink_to(shutil.which("dirname"))
    put_program(tmp_path, "flite", FLITE)
    done = bundle_sh(env={"PATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bundle.sh: festival: is not installed")
