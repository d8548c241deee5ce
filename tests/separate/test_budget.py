import dataclasses
import json
import math
import os
import re
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import platformdirs
import pytest
import torch
from models import TINY

from espnet2_tisdiss import SeparateSpeech, TISDiSSConfig, TisdissError
from espnet2_tisdiss.separate.budget import (
    LIMIT_S,
    BudgetError,
    Calibration,
    CalibrationStore,
    Conditions,
    calibrate,
    timed_seconds,
)

CONDITIONS = Conditions("0123456789abcdef", "Some CPU", 2, "float32", "2.14.1", "0.1.0")
# depths 1, 2, 3 ... at 0.75, 1, 1.25 ...: exact in binary
LINE = Calibration(
    CONDITIONS, seconds=8.0, batch=1, base_rtf=0.5, rtf_per_repetition=0.25, spread=0.02
)


class PlantedModel:
    """Stands in for SeparateSpeech: its work takes known times on a clock of its own."""

    sample_rate, device, precision = 8000, "cpu", "float32"

    def __init__(self, base_s: float, repetition_s: float, slower=lambda run, depth: 1.0):
        self.base_s, self.repetition_s, self.slower = base_s, repetition_s, slower
        self.now, self.runs, self.repetitions = 0.0, 0, 0
        self.separator = SimpleNamespace(
            config=TISDiSSConfig(), parameters=lambda: iter([torch.zeros(1)]), is_compiled=False
        )
        self.enh_train_args = SimpleNamespace(
            encoder="stft", encoder_conf={}, decoder="stft", decoder_conf={}
        )

    def clock(self) -> float:
        return self.now

    def anytime(self, mixture, n_re, scale):
        self.runs += 1
        run, items = self.runs, len(mixture)
        self.now += items * self.base_s * self.slower(run, 0)
        for depth in range(1, n_re + 1):
            self.now += items * self.repetition_s * self.slower(run, depth)
            self.repetitions += 1
            yield depth


def test_planted_times_are_found():
    model, steps = PlantedModel(0.8, 0.4), []
    found = calibrate(model, seconds=8, on_step=lambda: steps.append(1), clock=model.clock)
    assert (found.base_rtf, found.rtf_per_repetition) == pytest.approx((0.1, 0.05))
    assert found.spread == pytest.approx(0, abs=1e-9)
    assert found.predict(6) == pytest.approx(0.4)
    assert (found.seconds, found.batch) == (8, 1)
    assert found.conditions == Conditions.of(model)
    assert len(steps) == model.repetitions == (1 + 5) * 4


def test_batch_is_part_of_the_audio():
    model = PlantedModel(0.8, 0.4)
    found = calibrate(model, seconds=8, batch=3, repeats=1, clock=model.clock)
    assert (found.base_rtf, found.rtf_per_repetition) == pytest.approx((0.1, 0.05))
    assert found.batch == 3


def test_warming_up_and_a_busy_moment_do_not_count():
    def slower(run, depth):
        return 5.0 if run == 1 or (run, depth) == (3, 2) else 1.0

    model = PlantedModel(0.08, 0.04, slower)
    found = calibrate(model, seconds=8, clock=model.clock)
    assert (found.base_rtf, found.rtf_per_repetition) == pytest.approx((0.01, 0.005))
    assert found.spread > 0.5  # 3 of 20 times were late


@pytest.mark.parametrize(
    ("repetition_s", "repetitions"),
    [
        (0.5, 24),  # 16 s: everything fits
        (2.0, 4 + 4 + 2),  # 10 s a run; the third, begun at 20 s, would be one too many
        (4.0, 4 + 2),  # 18 s a run: the second passes the limit with its first estimate
        (40.0, 2),  # the one run is timed from its beginning, and has no warm-up
    ],
)
def test_a_slow_model_is_measured_less(repetition_s, repetitions):
    model = PlantedModel(2.0 if repetition_s > 0.5 else 0.5, repetition_s)
    found = calibrate(model, seconds=8, clock=model.clock)
    assert found.rtf_per_repetition == pytest.approx(repetition_s / 8)
    assert found.base_rtf == pytest.approx(model.base_s / 8)
    assert model.repetitions <= repetitions
    assert model.now <= LIMIT_S + model.base_s + 2 * repetition_s


def test_base_is_never_below_nothing():
    model = PlantedModel(0.0, 0.4, lambda run, depth: depth)  # each slower than the one before
    assert calibrate(model, clock=model.clock).base_rtf == 0


def test_times_that_do_not_grow_are_refused():
    model = PlantedModel(1.0, 0.0)
    with pytest.raises(BudgetError, match="took no longer here: .* calibrate again"):
        calibrate(model, clock=model.clock)


@pytest.mark.parametrize(
    ("option", "value"), [("n_re", 1), ("repeats", 0), ("batch", 0), ("seconds", 0)]
)
def test_arguments_of_calibrate_are_checked(option, value):
    with pytest.raises(ValueError, match=option):
        calibrate(PlantedModel(1.0, 1.0), **{option: value})


@pytest.mark.parametrize(
    ("rtf", "depth"),
    [
        (0.75, 1),
        (0.99, 1),
        (1.0, 2),
        (1.24, 2),
        (1.25, 3),
        (2.5, 8),
        (250.5, 1000),
        (2.0**40, 2**42 - 2),
    ],
)
def test_largest_depth_that_fits(rtf, depth):
    assert LINE.depth_for(rtf) == depth
    assert LINE.depth_for_seconds(rtf * 10, 10) == depth
    assert LINE.depth_for(rtf, most=8) == min(depth, 8)


@pytest.mark.parametrize("repetition", [0.1, 1 / 3, 0.7, 1e-9, math.pi])
def test_the_depth_is_exact_whatever_the_rounding(repetition):
    line = dataclasses.replace(LINE, base_rtf=0.1, rtf_per_repetition=repetition)
    for n_re in range(1, 100):
        assert line.depth_for(line.predict(n_re)) == n_re
        assert line.depth_for(math.nextafter(line.predict(n_re), math.inf)) == n_re
        if n_re > 1:
            assert line.depth_for(math.nextafter(line.predict(n_re), 0)) == n_re - 1


def test_what_cannot_be_kept_is_one_line():
    with pytest.raises(BudgetError) as error:
        LINE.depth_for(0.1)
    assert str(error.value) == (
        "a real-time factor of 0.1 is out of reach here: one repetition needs 0.75; allow that "
        "much, or take a faster device or smaller model"
    )
    with pytest.raises(BudgetError, match=r"2 s for 10 s of audio .* needs 7.5 s; allow"):
        LINE.depth_for_seconds(2, 10)
    assert isinstance(error.value, TisdissError)


def test_the_time_that_is_told_is_enough():
    line = dataclasses.replace(LINE, base_rtf=0.2012, rtf_per_repetition=0.1)
    for work in (1.0, 4 / 3, 0.5):
        with pytest.raises(BudgetError) as error:
            line.depth_for(0.1, work=work)
        assert line.depth_for(float(re.search(r"needs ([\d.]+)", str(error.value))[1]), work=work)
        with pytest.raises(BudgetError) as error:
            line.depth_for_seconds(1, 600, work=work)
        needed = float(re.search(r"needs ([\d.]+) s", str(error.value))[1])
        assert line.depth_for_seconds(needed, 600, work=work) == 1


def test_what_chunks_share_is_separated_twice():
    # RTF 0.5 + 0.25 N_re, for every second that is separated
    assert [LINE.depth_for(2.0, work=work) for work in (1.0, 4 / 3, 2.0, 0.5)] == [6, 4, 2, 14]
    assert LINE.depth_for_seconds(20, 10, work=4 / 3) == 4


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_impossible_times_are_refused(value):
    with pytest.raises(BudgetError, match="a real-time factor must be a positive number"):
        LINE.depth_for(value)
    with pytest.raises(BudgetError, match="a time must be a positive number"):
        LINE.depth_for_seconds(value, 10)
    with pytest.raises(BudgetError, match="a duration must be a positive number"):
        LINE.depth_for_seconds(10, value)


def test_a_huge_budget_is_no_error():
    assert LINE.depth_for(1e300) > 1e9
    assert LINE.depth_for(1e300, most=8) == 8


def test_a_limit_below_one_repetition_is_refused():
    with pytest.raises(ValueError, match="most must be an integer >= 1; got 0"):
        LINE.depth_for(1.0, most=0)


def test_saved_and_loaded(tmp_path):
    path = tmp_path / "new" / "folder" / "calibration.json"
    LINE.save(path)
    assert Calibration.load(path) == LINE
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def content(**changes):
    return json.dumps({"schema": 1, **dataclasses.asdict(LINE), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "no JSON"),
        (content()[:-20], "no JSON"),
        ("[1, 2]", "not written by this version; calibrate again"),
        (content(schema=2), "not written by this version; calibrate again"),
        ('{"schema": 1}', "no calibration"),
        (content(conditions=None), "no calibration"),
        (content(conditions={"model": "x"}), "no calibration"),
        (content(surplus=1), "no calibration"),
        (content(base_rtf="fast"), "no calibration"),
        (content(rtf_per_repetition=0), "rtf_per_repetition > 0"),
        (content(base_rtf=math.nan), "base_rtf must be >= 0"),
    ],
)
def test_a_file_that_is_no_calibration_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "calibration.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BudgetError, match=message) as error:
        Calibration.load(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_store_round_trip(tmp_path):
    store = CalibrationStore(tmp_path / "cache" / "calibrations.json")
    assert store.get(CONDITIONS) is None
    other = dataclasses.replace(LINE, conditions=dataclasses.replace(CONDITIONS, threads=64))
    for calibration in (LINE, other):
        store.put(calibration)
    again = CalibrationStore(store.path)
    assert again.get(CONDITIONS) == LINE and again.get(other.conditions) == other
    newer = dataclasses.replace(LINE, base_rtf=0.1)
    store.put(newer)
    assert again.get(CONDITIONS) == newer and again.get(other.conditions) == other
    assert [file.name for file in store.path.parent.iterdir()] == [store.path.name]


@pytest.mark.parametrize(
    "change",
    [
        {"model": "fedcba9876543210"},
        {"device": "Other CPU"},
        {"threads": 1},
        {"dtype": "bfloat16"},
        {"torch": "2.15.0"},
        {"package": "0.2.0"},
    ],
)
def test_other_conditions_are_not_found(tmp_path, change):
    store = CalibrationStore(tmp_path / "calibrations.json")
    store.put(LINE)
    assert store.get(dataclasses.replace(CONDITIONS, **change)) is None
    assert store.get(CONDITIONS, seconds=30.0) is None
    assert store.get(CONDITIONS, batch=4) is None
    store.put(dataclasses.replace(LINE, batch=4, base_rtf=0.1))
    assert store.get(CONDITIONS) == LINE and store.get(CONDITIONS, batch=4).base_rtf == 0.1


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"schema": 1, "calibr',
        '{"schema": 99, "calibrations": {}}',
        '{"schema": 1}',
        '{"schema": 1, "calibrations": {"key": {"base_rtf": 1}}}',
        '{"schema": 1, "calibrations": {"key": null}}',
    ],
)
def test_a_broken_store_is_begun_anew_with_a_warning(tmp_path, caplog, text):
    path = tmp_path / "calibrations.json"
    path.write_text(text)
    store = CalibrationStore(path)
    assert store.get(CONDITIONS) is None
    assert f"begun anew: {path}" in caplog.text
    store.put(LINE)
    caplog.clear()
    assert store.get(CONDITIONS) == LINE
    assert not caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_store_where_nobody_may_look_is_empty(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0)
    assert CalibrationStore(locked / "calibrations.json").get(CONDITIONS) is None


@pytest.mark.parametrize(
    ("chunk", "longest", "expected"),
    [(8, 2, 8), (3, 2, 3), (30, 9, 16), (30, 20, 30), (1e30, 70, 128)],
)
def test_what_is_timed_is_no_longer_than_twice_the_recordings(chunk, longest, expected):
    assert timed_seconds(chunk, longest) == expected


def test_a_store_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BudgetError, match="calibrations.json: cannot be written: "):
        CalibrationStore(tmp_path / "file" / "calibrations.json").put(LINE)
    assert (tmp_path / "file").read_text() == "in the way"


def test_the_store_is_whole_at_any_time(tmp_path, caplog):
    store = CalibrationStore(tmp_path / "calibrations.json")
    store.put(LINE)

    def put_and_get(_):
        store.put(LINE)
        return store.get(CONDITIONS)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(put_and_get, range(100))) == {LINE}
    assert not caplog.text


def test_store_lies_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = platformdirs.user_cache_path("tisdiss") / "calibrations.json"
    assert CalibrationStore().path == expected


def test_conditions_of_a_model_are_its_structure_and_the_machine(espnet_model):
    def conditions(n_re=None, **overrides):
        _, config, weights = espnet_model(**overrides)
        return Conditions.of(SeparateSpeech(config, weights, n_re=n_re))

    usual = conditions()
    assert (usual.threads, usual.dtype, usual.torch) == (1, "float32", torch.__version__)
    assert usual.device
    # the second model has other random weights
    assert conditions() == conditions(n_re=7) == usual
    wider = conditions(separator_conf={**TINY, "emb_dim": 16})
    coarser = conditions(
        encoder_conf={"n_fft": 128, "hop_length": 32},
        decoder_conf={"n_fft": 128, "hop_length": 32},
    )
    assert len({usual, wider, coarser}) == 3
    torch.set_num_threads(2)
    try:
        assert conditions() != usual
    finally:
        torch.set_num_threads(1)


def test_a_real_model_is_calibrated(espnet_model):
    _, config, weights = espnet_model()
    separate = SeparateSpeech(config, weights)
    runs = []
    separate.separator.reconstructor_blocks[0].register_forward_hook(lambda *_: runs.append(1))
    found = calibrate(separate, seconds=2, n_re=6, repeats=3)
    assert found.conditions == Conditions.of(separate)
    assert len(runs) == (1 + 3) * 6
    assert 0 < found.predict(1) < found.predict(6)
    assert found.depth_for(found.predict(4)) == 4
