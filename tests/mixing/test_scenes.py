"""Drawing scenes: which speakers are mixed, how often and how loud, and what is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from small_bank import (
    RATE,
    VOICES,
    echoing_rooms,
    everybody,
    said,
    tone,
    training_split,
    write_small_bank,
)

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.mixing.bank import Bank
from espnet2_tisdiss.mixing.configuration import MixingConfig
from espnet2_tisdiss.mixing.scenes import Scene, SceneDrawer, changed_length

DRAWS = 2000


def within(count: int, share: float, draws: int = DRAWS) -> bool:
    """Return whether a count is within four standard deviations of the expected one."""
    return abs(count - share * draws) < 4 * (share * (1 - share) * draws) ** 0.5


def drawer(folder, speech=None, **options) -> SceneDrawer:
    """A drawer of a small bank."""
    write_small_bank(folder, speech)
    return SceneDrawer(training_split(folder), MixingConfig(str(folder), **options))


def draws(scenes: SceneDrawer, count: int = DRAWS, pair: str | None = None) -> list[Scene]:
    return [scenes.draw(np.random.default_rng([0, number]), pair) for number in range(count)]


def speakers(scene: Scene) -> tuple[str, str]:
    return tuple(voice.speaker for voice in scene.voices)


def people(*rows: tuple[str, str, str]) -> list:
    """Recordings of speakers given as name, sex and source."""
    return [
        (said(name, sex=sex, source=source), tone(400 + 50 * number))
        for number, (name, sex, source) in enumerate(rows)
    ]


# --- who ----------------------------------------------------------------------------------------


def test_pairs_are_drawn_as_often_as_asked_for(tmp_path):
    found = Counter()
    for scene in draws(drawer(tmp_path)):
        first, second = speakers(scene)
        assert first != second
        found["".join(sorted(VOICES[name][0] for name in (first, second)))] += 1
    assert within(found["FF"], 0.35) and within(found["MM"], 0.25) and within(found["FM"], 0.4)
    assert found["FF"] + found["MM"] >= 0.4 * DRAWS


def test_a_pair_that_is_asked_for(tmp_path):
    scenes = drawer(tmp_path)
    for pair in ("FF", "MM", "FM"):
        for scene in draws(scenes, 20, pair):
            assert "".join(VOICES[name][0] for name in speakers(scene)) == pair


def test_pairs_that_the_bank_lacks_leave_their_share_to_the_others(tmp_path):
    rows = [("anna", "F", "read"), ("berta", "F", "read"), ("carl", "M", "read")]
    found = Counter("carl" in speakers(s) for s in draws(drawer(tmp_path, people(*rows))))
    assert within(found[True], 0.4 / 0.75)  # of two women and of one of each


def test_speakers_of_unknown_sex_are_paired_at_random(tmp_path, caplog):
    rows = [(name, "?", "read") for name in "abc"]
    found = Counter(frozenset(speakers(s)) for s in draws(drawer(tmp_path, people(*rows))))
    assert len(found) == 3 and all(within(count, 1 / 3) for count in found.values())
    assert not caplog.records


def test_speakers_of_unknown_sex_beside_known_ones_are_left_out_and_told(tmp_path, caplog):
    rows = [("anna", "F", "read"), ("berta", "F", "read"), ("c", "?", "read")]
    found = {name for s in draws(drawer(tmp_path, people(*rows)), 100) for name in speakers(s)}
    assert found == {"anna", "berta"}
    assert f"{tmp_path}: 1 of 3 speakers are of unknown sex and are not drawn" in caplog.text


def test_guessed_speakers_are_never_mixed_with_each_other(tmp_path):
    rows = [("a", "?", "read"), *((name, "?", "guess") for name in "bc"), ("d", "?", "guess2")]
    scenes = drawer(tmp_path, people(*rows), unsure_sources=["guess", "guess2"])
    assert {frozenset(speakers(scene)) for scene in draws(scenes, 200)} == {
        frozenset("ab"),
        frozenset("ac"),
        frozenset("ad"),
    }


def test_guessed_women_alone_are_no_pair_of_women(tmp_path):
    rows = [("a", "F", "guess"), ("b", "F", "guess"), ("c", "M", "read"), ("d", "M", "read")]
    scenes = drawer(tmp_path, people(*rows), unsure_sources=["guess"])
    found = Counter(len({"a", "b"} & set(speakers(scene))) for scene in draws(scenes))
    assert found[2] == 0 and within(found[1], 0.4 / 0.65)


def test_who_says_more_is_drawn_more_often_up_to_a_minute(tmp_path):
    # in seconds: 4, 1 and 64, so 2 : 1 : 60 ** 0.5
    lengths = {"a": 4, "b": 1, "c": 64}
    speech = [(said(name, sex="?"), tone(400, length)) for name, length in lengths.items()]
    group = drawer(tmp_path, speech)._groups[""]
    found = Counter(group.draw(np.random.default_rng(n)).name for n in range(DRAWS))
    total = 2 + 1 + 60**0.5
    assert within(found["a"], 2 / total) and within(found["b"], 1 / total)


# --- what ---------------------------------------------------------------------------------------


def test_times_levels_noises_and_rooms_are_within_their_limits(tmp_path):
    scenes = draws(drawer(tmp_path, seconds=2.0, level_db=6.0))
    partial = [s for s in scenes if any(v.stop - v.start < s.length for v in s.voices)]
    assert within(len(partial), 0.3)
    for scene in partial:
        short, whole = sorted(scene.voices, key=lambda voice: voice.stop - voice.start)
        assert (whole.start, whole.stop) == (0, scene.length) == (0, 2 * RATE)
        assert short.start == 0 or short.stop == scene.length
        assert 0.5 <= (short.stop - short.start) / scene.length <= 0.8
    gains = [scene.voices[0].gain_db for scene in scenes]
    assert -3 <= min(gains) < -2.9 and 2.9 < max(gains) <= 3
    assert all(scene.voices[1].gain_db == -gain for scene, gain in zip(scenes, gains, strict=True))
    noisy = [scene.noise_snr_db for scene in scenes if scene.noise]
    assert within(len(noisy), 0.25) and min(noisy) >= 5 and max(noisy) <= 25
    rooms = [scene for scene in scenes if scene.room >= 0]
    assert within(len(rooms), 0.25)
    assert {scene.room for scene in rooms} == {0, 1, 2}  # the training's share of four
    assert all({voice.place for voice in scene.voices} == {0, 1} for scene in rooms)
    assert {voice.place for scene in scenes if scene.room < 0 for voice in scene.voices} == {-1}
    speeds = Counter(scene.voices[0].speed for scene in scenes)
    assert len(speeds) == 5 and all(within(count, 0.2) for count in speeds.values())


def test_a_voice_says_enough_for_its_time(tmp_path):
    for scene in draws(drawer(tmp_path, seconds=5.0), 100):
        for voice in scene.voices:
            lengths = [changed_length(u.length, voice.speed) for u in voice.utterances]
            wanted = voice.stop - voice.start
            assert sum(lengths[:-1]) < wanted <= sum(lengths) - voice.offset
            assert {u.speaker for u in voice.utterances} == {voice.speaker}


@pytest.mark.parametrize(("weight", "share"), [(0.5, 1 / 3), (0.25, 0.2), (0, 0)])
def test_noisy_recordings_are_drawn_less_often(tmp_path, weight, share):
    speech = [
        (said(name, number, "?", snr_db=snr_db), tone(400 + number, 2.0))
        for name in "ab"
        for number, snr_db in enumerate((10.0, 40.0))
    ]
    scenes = drawer(tmp_path, speech, seconds=1.0, speeds=[1.0], noisy_weight=weight)
    drawn = [voice.utterances[0].snr_db for scene in draws(scenes) for voice in scene.voices]
    count = drawn.count(10.0)
    assert within(count, share, len(drawn)) if share else count == 0


def test_a_speaker_with_no_recording_that_is_wanted_is_left_out(tmp_path):
    rows = [("a", 40.0), ("b", float("nan")), ("c", 10.0)]
    speech = [(said(name, sex="?", snr_db=snr_db), tone(400)) for name, snr_db in rows]
    scenes = drawer(tmp_path, speech, noisy_weight=0)
    assert {name for scene in draws(scenes, 50) for name in speakers(scene)} == {"a", "b"}


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("second", 3, "an option of mixing_conf must be one of bank, seconds, .*; got 'second'"),
        ("bank", "", "mixing_conf lacks bank, the folder of the recordings"),
        ("seconds", 0.1, r"seconds must be a number in \[0.5, 3600\); got 0.1"),
        ("level_db", -1, r"level_db must be a number in \[0, 100\); got -1"),
        ("level_db", None, r"level_db must be .*; got None"),
        ("pairs", {"woman": 1}, "a pair must be one of women, men, mixed; got 'woman'"),
        ("pairs", {"men": -1}, r"pairs: men must be a number in \[0, inf\); got -1"),
        ("pairs", {"men": 0}, "pairs must not all be 0; got {'men': 0}"),
        ("pairs", {}, "pairs must not all be 0; got {}"),
        ("pairs", [0.5, 0.5], "pairs must be a mapping of women, men, mixed to numbers; got"),
        ("speeds", [1, 5], r"speeds must be a number in \[0.25, 4\); got 5"),
        ("speeds", 1.0, "speeds must be a list of factors; got 1.0"),
        ("speeds", [], r"speeds must be a list of factors; got \[\]"),
        ("partial_share", 1.5, "partial_share must be a number from 0 to 1; got 1.5"),
        ("room_share", -0.1, "room_share must be a number from 0 to 1; got -0.1"),
        ("noise_share", True, "noise_share must be a number from 0 to 1; got True"),
        ("noisy_weight", "half", "noisy_weight must be a number from 0 to 1; got 'half'"),
        ("alone_share", [0.2, 1.0], r"alone_share must be a number in \[0, 1\); got 1.0"),
        ("alone_share", 0.2, "alone_share must be a list of two numbers; got 0.2"),
        (
            "noise_snr_db",
            [25, 5],
            r"noise_snr_db must start with the smaller number; got \[25, 5\]",
        ),
        ("noise_snr_db", [5], r"noise_snr_db must be a list of two numbers; got \[5\]"),
        ("clean_snr_db", "30", r"clean_snr_db must be .*; got '30'"),
        ("unsure_sources", "guess", "unsure_sources must be a list; got 'guess'"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(option, value, told):
    with pytest.raises(ValueError, match=f"^{told}") as error:
        MixingConfig.from_options({"bank": "somewhere"} | {option: value})
    assert "\n" not in str(error.value)


def test_options_that_are_no_mapping_are_refused():
    with pytest.raises(ValueError, match="^mixing_conf must be a mapping of options; got None$"):
        MixingConfig.from_options(None)


def test_shares_of_all_and_of_none_are_allowed():
    options = {"bank": "somewhere", "partial_share": 1, "room_share": 0, "noise_share": 1.0}
    assert MixingConfig.from_options(options).partial_share == 1


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ({"noises": 0}, "noise_share is 0.25, but .* has no noises"),
        ({"rooms": np.zeros((0, 0, 0))}, "room_share is 0.25, but .* has no rooms with two places"),
        ({"rooms": echoing_rooms(places=1)}, "room_share is 0.25, but .* no rooms with two places"),
    ],
)
def test_a_bank_that_lacks_what_is_asked_for(tmp_path, lacking, told):
    write_small_bank(tmp_path, **lacking)
    bank = training_split(tmp_path)
    with pytest.raises(ValueError, match=f"^{told}$"):
        SceneDrawer(bank, MixingConfig(str(tmp_path)))
    without = {"noise_share": 0, "room_share": 0}
    SceneDrawer(bank, MixingConfig(str(tmp_path), **without)).draw(np.random.default_rng(0))


@pytest.mark.parametrize("reason", ["guessed", "noisy"])
def test_a_bank_with_nobody_to_mix(tmp_path, reason):
    write_small_bank(tmp_path, [(said(name, source="x", snr_db=3.0), tone(400)) for name in "ab"])
    options = {"unsure_sources": ["x"]} if reason == "guessed" else {"noisy_weight": 0}
    with pytest.raises(ValueError, match="^.* has no two speakers that may be mixed: check unsu"):
        SceneDrawer(training_split(tmp_path), MixingConfig(str(tmp_path), **options))


def test_no_bank_and_a_bank_of_one_speaker(tmp_path):
    with pytest.raises(TisdissError, match=f"^{tmp_path}: is not a bank of recordings "):
        Bank(tmp_path, "train")
    write_small_bank(tmp_path, everybody()[:2])
    with pytest.raises(TisdissError, match=f"^{tmp_path}: has fewer than two speakers in split 't"):
        Bank(tmp_path, "train")
