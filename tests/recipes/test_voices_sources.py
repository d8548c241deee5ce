"""The inputs of voices_2mix: audio files, splits of speakers, layouts of public data sets, and the
training's own check of what it mixes."""

import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import yaml
from espnet2.train.collate_fn import CommonCollateFn
from mini_corpus import table
from recipe_folder import REPOSITORY
from voice_folders import write_noise

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.espnet.training import ResumableTask
from espnet2_tisdiss.mixing.bank import Noise, Utterance, write_bank
from espnet2_tisdiss.recipes.stages.check_training import check_mixing, training_options
from espnet2_tisdiss.recipes.voices_2mix import bank as voices_bank
from espnet2_tisdiss.recipes.voices_2mix.audio import cut, cut_noise, decode_noise, decode_speech
from espnet2_tisdiss.recipes.voices_2mix.listing import (
    Part,
    Recording,
    assign_splits,
    read_tabs,
    shuffled_speakers,
)
from espnet2_tisdiss.recipes.voices_2mix.prepare import Sources, make_voices
from espnet2_tisdiss.recipes.voices_2mix.public_voices import DATA_SETS, TABLE, list_public
from espnet2_tisdiss.recipes.voices_2mix.sizes import Size, choose

RATE = 16000
CONF = REPOSITORY / "egs2" / "voices_2mix" / "enh1" / "conf"


def recording(*paths, name="a/1.wav", speaker="a", sex="F", split="", start=0.0, stop=math.inf):
    parts = tuple(Part(Path(path), start, stop) for path in paths)
    return Recording(name, speaker, sex, "", split, math.nan, parts)


def tone(seconds, rate, hertz=440.0):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(path, samples, rate, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


# --- audio ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
def test_a_recording_becomes_one_channel_at_16_khz_without_silence_at_its_ends(tmp_path, suffix):
    # half a second of silence, a second of the tone in the left channel, silence
    left = np.concatenate([np.zeros(24000), tone(1.0, 48000), np.zeros(24000)])
    options = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    path = write(tmp_path / f"1.{suffix}", np.c_[left, 0 * left], 48000, **options)
    samples = decode_speech(recording(path), False)
    assert samples.dtype == np.int16
    assert len(samples) == pytest.approx(1.2 * RATE, abs=0.06 * RATE)  # 0.1 s is kept at each end
    assert np.abs(samples).max() == pytest.approx(0.9 * 32768, abs=2)
    spectrum = np.abs(np.fft.rfft(samples[3200:16000]))
    assert np.argmax(spectrum) * RATE / 12800 == pytest.approx(440, abs=2)


def test_a_part_is_read_and_several_are_joined_with_pauses(tmp_path):
    path = write(tmp_path / "1.wav", np.r_[tone(1, RATE, 300), tone(1, RATE, 900)], RATE)
    second = decode_speech(recording(path, start=1.0, stop=1.5), False)
    assert len(second) == RATE // 2
    assert np.argmax(np.abs(np.fft.rfft(second))) * 2 == 900
    joined = decode_speech(recording(path, path, path), False)
    assert 6.04 * RATE <= len(joined) <= 6.5 * RATE
    again = decode_speech(recording(path, path, path), False)
    assert (joined == again).all()
    with pytest.raises(TisdissError, match="1.wav: ends before 5 s"):
        decode_speech(recording(path, start=5.0, stop=6.0), False)


def test_noise_keeps_its_length_and_must_last_a_second(tmp_path):
    write_noise(tmp_path / "1.wav", 3.0)
    assert len(decode_noise(tmp_path / "1.wav", False)) == 3 * RATE
    write_noise(tmp_path / "2.wav", 0.5)
    with pytest.raises(TisdissError, match="2.wav: lasts 0.50 s; a noise needs 1 s or more"):
        decode_noise(tmp_path / "2.wav", False)
    write(tmp_path / "3.wav", np.zeros(2 * RATE), RATE)
    pieces = cut_noise(np.arange(70 * RATE))
    assert (np.concatenate(pieces) == np.arange(70 * RATE)).all()
    assert [round(len(piece) / RATE) for piece in pieces] == [23, 23, 23]
    with pytest.raises(TisdissError, match="3.wav: is silent"):
        decode_noise(tmp_path / "3.wav", False)


def test_long_recordings_are_cut_at_pauses_and_long_pauses_are_left_out():
    assert [len(piece) for piece in cut(np.ones(32 * RATE, np.int16))] == [32 * RATE]
    speech = np.full(70 * RATE, 9000, np.int16)
    speech[27 * RATE : 27 * RATE + 800] = 0
    first, *others = cut(speech)
    assert len(first) == pytest.approx(27 * RATE + 400, abs=800)
    assert (np.concatenate([first, *others]) == speech).all()
    assert all(len(piece) <= 32 * RATE for piece in others)
    speech[RATE * 30 :] = 20
    kept = np.concatenate(cut(speech))  # not the last piece, which is soft throughout
    assert len(kept) < 56 * RATE and (kept == speech[: len(kept)]).all()


# --- splits -----------------------------------------------------------------------------------


def members(recordings, split):
    return {r.speaker for r in recordings if r.split == split}


def test_speakers_are_split_by_a_hash_with_the_sexes_in_their_shares():
    everyone = [
        recording(name=f"{n}/{i}", speaker=f"s{n}", sex="F" if n % 4 == 0 else "M")
        for n in range(200)
        for i in range(2)
    ]
    done = assign_splits(everyone, 0)
    assert len(members(done, "valid")) == len(members(done, "test")) == 12
    assert len(members(done, "train")) == 176
    for split in ("valid", "test"):
        assert len({r.speaker for r in done if r.split == split and r.sex == "F"}) == 3
    assert members(assign_splits(everyone[::-1], 0), "test") == members(done, "test")
    assert members(assign_splits(everyone, 1), "test") != members(done, "test")


def test_six_speakers_are_enough_and_given_splits_are_kept():
    six = [recording(speaker=f"s{n}", sex="FM"[n % 2]) for n in range(6)]
    done = assign_splits(six, 0)
    for split in ("train", "valid", "test"):
        assert {r.sex for r in done if r.split == split} == {"F", "M"}
    with pytest.raises(TisdissError, match=r"there are 5 speakers \(s0, s1, s2, s3, s4\)"):
        assign_splits(six[:5], 0)
    given = [recording(split="train")]
    assert assign_splits(given, 0) == given


def test_the_tiny_size_takes_a_part():
    everyone = [
        recording(name=f"{n}/{i}", speaker=f"s{n:02d}", sex="FM"[n % 2], split=split)
        for n, split in enumerate(["train"] * 10 + ["valid"] * 6 + ["test"] * 6)
        for i in range(5)
    ]
    size = Size("x", 6, 4, 4, 2.0, speakers=(4, 2, 2), recordings=3)
    taken = choose(everyone, size, 0)
    assert len(taken) == 8 * 3
    assert {r.sex for r in taken if r.split == "test"} == {"F", "M"}
    assert choose(everyone, Size("y", 6, 4, 4, 2.0), 0) == everyone
    assert len(shuffled_speakers(everyone, 0)) == 22


# --- public data sets -------------------------------------------------------------------------

WHERE = {
    "librispeech": "LibriSpeech/test-clean/{speaker}/{chapter}/{original}.flac",
    "speechocean762": "speechocean762/{original}",
    "librivox-fr": "fleursdumal_librivox/mp3/{poem}.mp3",
    "picovoice-s2i": "speech-to-intent-benchmark/{original}",
    "emodb": "emodb/wav/{original}",
    "rhasspy-kerstin": "dataset-voice-kerstin/{original}",
    "vctk": "Real-Time-Voice-Cloning/samples/{original}",
}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """All data sets with a recording of up to two speakers of each split, and their list."""
    rows = [row for _, row in read_tabs(TABLE, ("source",))]
    seen, kept = {}, []
    for row in rows:
        speakers = seen.setdefault((row["source"], row["split"]), set())
        is_late = row["source"] == "librivox-fr" and float(row["original"].split("-")[-1]) > 50
        if len(speakers) < 2 and row["speaker"] not in speakers and not is_late:
            speakers.add(row["speaker"])
            kept.append(row)
    folder = tmp_path_factory.mktemp("public")
    for row in kept:
        seconds = 50 if row["source"] == "librivox-fr" else 1
        for path in paths_of(row):
            write(folder / path, buzz(row["speaker"], seconds), RATE)
    listed = tmp_path_factory.mktemp("list") / "list.tsv"
    lines = ["\t".join(rows[0])] + ["\t".join(row.values()) for row in kept]
    listed.write_text("\n".join(lines) + "\n")
    return folder, listed, kept


def buzz(speaker, seconds):
    """A buzz at a speaker's pitch, with syllables."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = 90 + sum(map(ord, speaker)) % 120
    return 0.4 * np.sign(np.sin(2 * np.pi * pitch * time)) * (0.6 + 0.4 * np.sin(20 * time))


def paths_of(row):
    source, original = row["source"], row["original"]
    if source == "arabic-speech-commands":
        return [f"arabic-speech-commands-dataset/dataset/{w}.wav" for w in original.split("+")]
    parts = {"chapter": original.split("-")[1] if source == "librispeech" else ""}
    return [WHERE[source].format(**row, **parts, poem=original.partition("@")[0])]


def test_every_data_set_is_found_in_its_own_layout(miniature, tmp_path, monkeypatch):
    folder, listed, rows = miniature
    listing = list_public(folder, False, listed)
    assert len(listing.recordings) == len(rows) and not listing.faults and not listing.remarks
    found = {r.name: r for r in listing.recordings}
    assert {r.source for r in listing.recordings} == set(DATA_SETS)
    for row in rows:
        said = found[f"{row['source']}/{row['speaker']}/{row['original']}"]
        assert [p.path.relative_to(folder).as_posix() for p in said.parts] == paths_of(row)
        assert said.split == row["split"] and said.sex == row["sex"].strip("*")
        if row["source"] == "librivox-fr":
            start, stop = map(float, row["original"].partition("@")[2].split("-"))
            assert (said.parts[0].start, said.parts[0].stop) == (start, stop)
    # all the way to a bank
    room = np.eye(4, 64, dtype=np.float32)[:, :1].repeat(64, 1) + 1
    monkeypatch.setattr(voices_bank, "impulse_responses", lambda rng, rate: room)
    monkeypatch.setattr(
        "espnet2_tisdiss.recipes.voices_2mix.prepare.list_public",
        lambda *args: list_public(*args, listed),
    )
    size = Size("trial", rooms=6, valid_mixtures=3, test_mixtures=1, seconds=2.0)
    corpus = tmp_path / "corpus"
    make_voices(size, 0, Sources(public=folder), corpus, tmp_path / "data", tmp_path, 1)
    bank = {row["name"]: row for row in table(corpus / "bank" / "utterances.tsv")}
    assert bank.keys() == found.keys()
    for name, row in bank.items():
        if row["source"] == "librivox-fr":
            part = found[name].parts[0]
            assert int(row["length"]) / RATE == pytest.approx(part.stop - part.start, abs=0.1)


def test_every_listed_recording_has_a_place(tmp_path):
    rows = [row for _, row in read_tabs(TABLE, ("source",))]
    assert len(rows) == 6347 and TABLE.stat().st_size < 600_000
    for data_set in DATA_SETS.values():
        (tmp_path / data_set.folder).mkdir()
    for row in rows:
        data_set = DATA_SETS[row["source"]]
        root = tmp_path / data_set.folder
        parts = data_set.find(root, row["speaker"], row["original"])
        assert parts and all(part.path.is_relative_to(root) for part in parts)
        assert all(part.start < part.stop for part in parts)


def test_a_data_set_that_lacks_recordings_is_refused_or_allowed(miniature, tmp_path):
    folder, (_, listed, rows) = tmp_path / "public", miniature
    shutil.copytree(miniature[0], folder)
    shutil.rmtree(folder / "emodb")
    gone = sorted((folder / "speechocean762").rglob("*.WAV"))[:2]
    for path in gone:
        path.unlink()
    count = sum(row["source"] == "speechocean762" for row in rows)
    with pytest.raises(TisdissError) as caught:
        list_public(folder, False, listed)
    problem, advice = str(caught.value).splitlines()
    assert problem == (
        f"speechocean762: 2 of {count} recordings are missing, such as {gone[0]}"
    ) and advice.endswith("--allow_missing")
    listing = list_public(folder, True, listed)
    assert listing.remarks == [f"emodb: left out: there is no {folder / 'emodb'}", problem]
    emodb = sum(row["source"] == "emodb" for row in rows)
    assert len(listing.recordings) == len(rows) - 2 - emodb


def test_a_folder_without_any_data_set_is_one_line(tmp_path):
    with pytest.raises(TisdissError, match="holds none of the public data sets") as caught:
        list_public(tmp_path, False)
    assert "\n" not in str(caught.value)


def test_no_path_of_a_machine_is_in_the_list():
    assert "/work" not in TABLE.read_text()


# --- the check before a training --------------------------------------------------------------


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """A bank of two speakers and a noise, without rooms."""
    folder = tmp_path_factory.mktemp("banks") / "bank"
    rng = np.random.default_rng(0)
    speech = [
        (
            Utterance(f"{s}/1", s, sex, "", "train", math.nan, 0.0),
            rng.integers(-9000, 9000, 3 * RATE).astype(np.int16),
        )
        for s, sex in (("a", "F"), ("b", "M"))
    ]
    noises = [(Noise("n"), rng.integers(-900, 900, 3 * RATE).astype(np.int16))]
    write_bank(folder, RATE, speech, noises, np.zeros((0, 0, 0), np.float32))
    return folder


@pytest.mark.parametrize("name", ["train_default.yaml", "train_tiny.yaml"])
def test_the_recipe_s_configurations_fit_a_bank(bank, name):
    words = ["--mixing_conf", f"bank={bank}", "--mixing_conf", "room_share=0"]
    check_mixing(training_options(CONF / name, words), RATE)
    names = ("train_default.yaml", "train_tiny.yaml")
    keys = [set(yaml.safe_load((CONF / n).read_text())) for n in names]
    assert keys[1] == keys[0] - {"training_dtype"}


def test_the_causal_configuration_is_the_default_one_but_for_what_looks_ahead():
    causal, default = (
        yaml.safe_load((CONF / f"train_{name}.yaml").read_text()) for name in ("causal", "default")
    )
    assert causal["separator_conf"].pop("causal") is True
    del causal["separator_conf"]["attention_window"]
    assert default["model_conf"].pop("normalize_variance") is True
    assert causal["model_conf"].pop("normalize_variance") is False
    assert causal == default


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mixing_conf", "bank=nowhere"], "nowhere: is not a bank of recordings"),
        ([], "mixing_conf lacks bank"),
        (["--mixing_conf", "bank={bank}"], "has no rooms"),
        (
            ["--mixing_conf", "bank={bank}", "--mixing_conf", "loudness=3"],
            "an option of mixing_conf must be one of .*; got 'loudness'",
        ),
        (["--num_att_plot", "2"], "num_att_plot to 0"),
        (["--valid_iterator_type", "task"], "set valid_iterator_type to sequence"),
        (["--depth_schedule", "{{5: 2}}"], "depth_schedule"),
    ],
)
def test_wrong_options_of_a_training_are_one_line(bank, tmp_path, words, message):
    config = tmp_path / "conf.yaml"
    content = yaml.safe_load((CONF / "train_tiny.yaml").read_text())
    if words and words[0] == "--depth_schedule":
        content["depth_schedule"], words = {5: 2}, []
    config.write_text(yaml.safe_dump(content))
    options = training_options(config, [word.format(bank=bank) for word in words])
    with pytest.raises(TisdissError, match=message) as caught:
        check_mixing(options, RATE)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(config))


def test_a_bank_at_another_rate_is_one_line(bank):
    words = ["--mixing_conf", f"bank={bank}", "--mixing_conf", "room_share=0"]
    with pytest.raises(
        TisdissError, match="holds recordings at 16000 Hz, but the data has 8000 Hz"
    ):
        check_mixing(training_options(CONF / "train_tiny.yaml", words), 8000)


def test_a_separator_of_espnet_is_trained_at_the_rate_of_the_bank(bank):
    words = ["--mixing_conf", f"bank={bank}", "--mixing_conf", "room_share=0"]
    words += ["--separator", "tcn", "--num_iters_per_epoch", "1"]
    options = training_options(CONF / "train_tiny.yaml", words)
    collate = CommonCollateFn(float_pad_value=0.0, int_pad_value=0)
    batches = SimpleNamespace(collate_fn=collate, distributed=False)
    factory = ResumableTask.build_task_iter_factory(options, batches, "train")
    ((_, batch),) = factory.build_iter(1)
    assert batch["speech_mix"].shape[1] == options.mixing_conf["seconds"] * RATE
