import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch
from espnet2.bin import enh_inference
from espnet2.tasks.enh_s2t import EnhS2TTask
from joint_model import write_joint_model
from models import LEARNED_ENCODER, TINY

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.choices import SCALES
from espnet2_tisdiss.network.precision import half_precision
from espnet2_tisdiss.pretrained.bundled import example
from espnet2_tisdiss.separate.loudness import rescale

SAMPLES = 2000  # of a mixture: 31.25 hops


@pytest.fixture
def separate(espnet_model) -> SeparateSpeech:
    _, config, weights = espnet_model()
    return SeparateSpeech(config, weights, dtype="float64")  # rounding does not matter here


@pytest.fixture
def mixture() -> np.ndarray:
    return (np.random.randn(3, SAMPLES) * [[0.1], [1.0], [0.01]]).astype(np.float32)


def test_is_a_drop_in_for_espnets_class(espnet_model, mixture):
    _, config, weights = espnet_model()
    mixture = mixture[:, : 31 * 64]  # a multiple of the hop, which is not padded
    for options in ({}, {"segment_size": 0.08, "hop_size": 0.04}, {"normalize_output_wav": True}):
        stock = enh_inference.SeparateSpeech(config, weights, **options)
        ours = SeparateSpeech(config, weights, **options)
        for speech in (mixture, torch.from_numpy(mixture)):
            np.testing.assert_array_equal(ours(speech, fs=8000), stock(speech, fs=8000))


def test_takes_espnets_arguments_by_position_and_its_inference_config(
    espnet_model, mixture, tmp_path
):
    _, config, weights = espnet_model()
    deeper = tmp_path / "inference.yaml"
    deeper.write_text("separator_conf: {reconstructor_repeat_times: 4}")
    mixture = mixture[:, : 31 * 64]
    arguments = (config, weights, deeper, 0.08, 0.04, False, False, None, True, "cpu", "float64")
    stock = enh_inference.SeparateSpeech(*arguments)
    ours = SeparateSpeech(*arguments)
    np.testing.assert_array_equal(ours(mixture), stock(mixture))
    whole = SeparateSpeech(config, weights, inference_config=deeper)
    np.testing.assert_array_equal(whole(mixture), SeparateSpeech(config, weights, n_re=4)(mixture))
    assert whole.depths(mixture, [4])[4][0].shape == (2, mixture.shape[1])


def test_depth_per_call_and_per_instance(espnet_model, mixture):
    _, config, weights = espnet_model()
    separate = SeparateSpeech(config, weights, n_re=3)
    three, one = separate(mixture), separate(mixture, n_re=1)
    assert np.abs(np.array(three) - one).max() > 1e-4
    np.testing.assert_array_equal(separate(mixture), three)  # a call changes no later one
    np.testing.assert_array_equal(SeparateSpeech(config, weights, n_re=1)(mixture), one)


@pytest.mark.promise("threads")
def test_calls_of_several_threads_have_depths_of_their_own(separate, mixture):
    alone = {n_re: separate(mixture, n_re=n_re) for n_re in (1, 6)}
    with ThreadPoolExecutor(2) as pool:
        depths = [1, 6] * 6
        found = list(pool.map(lambda n_re: separate(mixture, n_re=n_re), depths))
    for n_re, waves in zip(depths, found, strict=True):
        np.testing.assert_array_equal(waves, alone[n_re])
    assert separate.separator.reconstructor_repeat_times == TINY["reconstructor_repeat_times"]


def test_a_mixture_without_its_batch_is_told(separate, mixture):
    with pytest.raises(ValueError, match=r"give speech_mix\[None\], or use batch"):
        separate(mixture[0])
    with pytest.raises(ValueError, match="speech_mix must be an array"):
        separate(list(mixture))


def test_a_sample_rate_that_is_not_the_models_is_told(separate, mixture, caplog):
    expected = separate(mixture)
    np.testing.assert_array_equal(separate(mixture, fs=8000), expected)
    assert not caplog.text
    np.testing.assert_array_equal(separate(mixture, fs=16000), expected)
    assert (
        "the model's rate is 8000 Hz, the call's 16000 Hz, and nothing is resampled" in caplog.text
    )


def test_a_call_takes_mixtures_shorter_than_a_frame(separate, mixture):
    for length in (1, 50):
        short = mixture[:, :length]
        raw = separate.depths(short, [2], scale="estimate")[2]
        np.testing.assert_allclose(np.stack(separate(short, n_re=2), 1), raw, atol=1e-10)


def test_no_estimate_ends_in_a_click():
    separate = SeparateSpeech.from_pretrained(n_re=3)
    hop = separate.enh_model.encoder.hop_length
    samples, _ = soundfile.read(next((example() / "mix").iterdir()), dtype="float32")
    mixture = samples[None, : 126 * hop - 1]  # its end is at the end of the last window
    found = {
        "call": separate(mixture),
        "depths": separate.depths(mixture, [3], "estimate")[3],
        "anytime": list(separate.anytime(mixture, 3, "estimate"))[-1].waves,
        "until_stable": separate.until_stable(mixture, -200, 3, "estimate").waves,
        "batch": separate.batch(mixture, 3, scale="estimate"),
        "recording": separate.recording(
            mixture[0], separate.sample_rate, n_re=3, scale="estimate", keep_rumble=True
        ),
    }
    for name, waves in found.items():
        waves = np.reshape(waves, (2, -1))
        assert waves.shape == (2, mixture.shape[1])
        assert np.abs(waves[:, -hop:]).max() < np.abs(waves[:, :-hop]).max(), name
        np.testing.assert_allclose(waves, np.concatenate(found["call"]), atol=1e-3)


def test_a_learned_encoders_last_samples_are_separated(espnet_model, mixture):
    _, config, weights = espnet_model(**LEARNED_ENCODER)
    separate = SeparateSpeech(config, weights)
    for length in (1993, 1999, 2000):  # of strides of 8, with kernels of 16
        (wave,) = separate.batch([mixture[0, :length]], scale="estimate")
        assert wave.shape == (2, length) and np.abs(wave[:, -1]).min() > 0


def test_silence_stays_silent_where_espnets_call_normalises(espnet_model, mixture):
    _, config, weights = espnet_model()
    separate = SeparateSpeech(config, weights, normalize_output_wav=True)
    for wave in separate(np.concatenate([mixture, 0 * mixture])):
        assert np.abs(wave[:3]).max(1) == pytest.approx(0.9, rel=0.01)
        assert (wave[3:] == 0).all()


def test_tensors_of_any_kind_and_arrays_that_run_backwards(separate, mixture):
    expected = separate.depths(mixture, [2])[2]
    tensor = torch.from_numpy(mixture).requires_grad_()
    np.testing.assert_array_equal(separate.depths(tensor, [2])[2], expected)
    half = separate.depths(tensor.bfloat16(), [2])[2]
    assert np.abs(np.subtract(half, expected)).max() < 0.1 * np.abs(expected).max()
    backwards = np.ascontiguousarray(mixture[:, ::-1])[:, ::-1]
    np.testing.assert_array_equal(separate(backwards), separate(mixture))
    assert separate.until_stable(mixture, np.float32(-10), np.int64(3)).n_re.max() <= 3


def test_no_model_at_all_is_told(separate):
    with pytest.raises(TisdissError, match="^no model given: "):
        SeparateSpeech()
    with pytest.raises(TisdissError, match="^no model given: "):
        SeparateSpeech.from_pretrained(train_config=None, model_file=None)


@pytest.mark.parametrize("scale", SCALES)
def test_estimates_are_as_loud_as_wanted(separate, mixture, scale):
    raw, *_ = separate.batch(mixture, 2, scale="estimate")
    expected = rescale(scale, mixture[0], raw)
    assert expected.shape == (2, SAMPLES)
    of_default = {} if scale == "level" else {"scale": scale}
    found = {
        "depths": separate.depths(mixture, [2], **of_default)[2],
        "anytime": list(separate.anytime(mixture, 2, **of_default))[-1].waves,
        "until_stable": separate.until_stable(mixture, -200, 2, **of_default).waves,
    }
    for waves in found.values():
        np.testing.assert_allclose(waves[0], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(separate.batch(mixture, 2, **of_default)[0], expected, rtol=1e-6)
    for refusing in (
        separate.batch,
        lambda mixture, scale: separate.until_stable(mixture, -10, scale=scale),
        lambda mixture, scale: next(separate.anytime(mixture, scale=scale)),
    ):
        with pytest.raises(ValueError, match="scale must be one of estimate, peak, level"):
            refusing(mixture, scale="loud")


def test_a_wrong_argument_is_no_broken_model(espnet_model):
    _, config, weights = espnet_model()
    for options in ({"dtype": "int8"}, {"n_re": -1}, {"sample_rate": "8k"}, {"nre": 4}):
        with pytest.raises((ValueError, TypeError), match=next(iter(options))) as caught:
            SeparateSpeech.from_pretrained(weights, **options)
        assert "cannot be loaded" not in str(caught.value)
    with pytest.raises(TisdissError, match=r"either a model \(mini\) or its model_file, not"):
        SeparateSpeech.from_pretrained("mini", model_file=weights)


def test_anytime_and_depths_equal_single_runs(separate, mixture):
    single = {n_re: np.stack(separate(mixture, n_re=n_re), 1) for n_re in (1, 2, 3, 5)}
    anytime = list(separate.anytime(mixture, n_re=5, scale="estimate"))
    assert [set(estimate.n_re) for estimate in anytime] == [{1}, {2}, {3}, {4}, {5}]
    for n_re, waves in single.items():
        np.testing.assert_allclose(anytime[n_re - 1].waves, waves, atol=1e-6)
    sweep = separate.depths(mixture, [5, 1, 3], scale="estimate")
    assert list(sweep) == [5, 1, 3]
    for n_re in sweep:
        np.testing.assert_allclose(sweep[n_re], single[n_re], atol=1e-6)


def test_anytime_stops_early_and_leaves_no_trace(separate, mixture):
    runs = []
    separate.separator.reconstructor_blocks[0].register_forward_hook(lambda *_: runs.append(1))
    for estimate in separate.anytime(mixture, n_re=100):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        if estimate.n_re[0] == 2:
            break
    assert len(runs) == 2
    assert separate.separator.reconstructor_repeat_times == TINY["reconstructor_repeat_times"]


def test_two_iterators_do_not_disturb_each_other(separate, mixture):
    alone = [estimate.waves for estimate in separate.anytime(mixture, n_re=4)]
    pairs = zip(
        separate.anytime(mixture, n_re=4), separate.anytime(mixture[:1], n_re=2), strict=False
    )
    for depth, (long, _) in enumerate(pairs):
        np.testing.assert_array_equal(long.waves, alone[depth])


def test_until_stable_is_per_item(separate, mixture):
    # the definition, item by item, from the estimates at every depth
    raw = separate.anytime(mixture, n_re=8, scale="estimate")
    estimates = [np.stack(estimate.waves) for estimate in raw]
    changes = [
        10 * np.log10(np.square(deep - shallow).sum((1, 2)) / np.square(deep).sum((1, 2)))
        for shallow, deep in zip(estimates, estimates[1:], strict=False)
    ]
    low, high = np.sort(np.concatenate(changes))[10:12]
    stop_db = float(low + high) / 2
    expected = [
        next((k + 2 for k, change in enumerate(changes) if change[item] <= stop_db), 8)
        for item in range(3)
    ]
    stable = separate.until_stable(mixture, stop_db, n_re=8, scale="estimate")
    assert stable.n_re.tolist() == expected
    for item, n_re in enumerate(expected):
        np.testing.assert_array_equal(stable.waves[item], estimates[n_re - 1][item])


def test_until_stable_limits(separate, mixture):
    assert separate.until_stable(mixture, stop_db=200.0, n_re=5).n_re.tolist() == [2, 2, 2]
    assert separate.until_stable(mixture, stop_db=-200.0, n_re=5).n_re.tolist() == [5, 5, 5]
    assert separate.until_stable(mixture, -30, n_re=1).n_re.tolist() == [1, 1, 1]


def test_silence_in_a_batch_is_silent_at_every_depth(separate, mixture):
    mixture[1] = 0
    for estimate in separate.anytime(mixture, n_re=2):
        waves = np.stack(estimate.waves)
        assert (waves[1] == 0).all() and np.isfinite(waves).all()
    assert separate.until_stable(mixture, n_re=9, stop_db=-200).n_re.tolist() == [9, 2, 9]


@pytest.mark.parametrize("n_re", [0, -1, 1.5, "2"])
def test_depths_that_make_no_sense_are_refused(separate, mixture, n_re):
    with pytest.raises(ValueError, match="n_re must be an integer from 1 to 1000"):
        list(separate.anytime(mixture, n_re=n_re))


def test_depths_of_an_iterator_and_of_none(separate, mixture):
    assert list(separate.depths(mixture, iter([2, 1]))) == [2, 1]
    with pytest.raises(ValueError, match="n_re must have at least one depth"):
        separate.depths(mixture, [])
    with pytest.raises(ValueError, match="stop_db must be a number"):
        separate.until_stable(mixture, stop_db=float("nan"))


def test_another_separator_is_refused(espnet_model):
    _, config, weights = espnet_model(
        separator="rnn", separator_conf={"num_spk": 2, "layer": 1, "unit": 4}
    )
    with pytest.raises(ValueError, match="separator is RNNSeparator, not a TISDiSS"):
        SeparateSpeech(config, weights)


def test_weights_of_encoder_and_decoder_are_not_passed_over(espnet_model):
    _, config, weights = espnet_model(**LEARNED_ENCODER)
    SeparateSpeech(config, weights)
    state_dict = torch.load(weights, weights_only=True)
    decoder = next(name for name in state_dict if name.startswith("decoder."))
    torch.save({k: v for k, v in state_dict.items() if k != decoder}, weights)
    with pytest.raises(TisdissError, match=f"missing: {decoder}; left over: none"):
        SeparateSpeech(config, weights)


def test_as_deep_as_a_time_allows(separate, mixture):
    # trained at 2: a third beyond that, rounded up, for any current depth
    for separate.separator.reconstructor_repeat_times in (1, 4, 2):
        assert separate.within(mixture, 1e6).n_re.tolist() == [3, 3, 3]
    found = separate.within(mixture, 1e6, n_re=5, scale="peak")
    expected = separate.depths(mixture, [5], scale="peak")[5]
    np.testing.assert_array_equal(found.waves, expected)
    assert separate.within(mixture, 0).n_re.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="seconds must be a number"):
        separate.within(mixture, -1)


def test_files_in_one_line(separate, mixture, tmp_path):
    samples = np.stack([mixture[0], mixture[1]], 1)
    soundfile.write(tmp_path / "a.wav", samples, 16000, "FLOAT")
    for options in ({"n_re": 3}, {"channel": "right"}, {"channel": "each", "scale": "peak"}):
        voices, rate = separate.file(tmp_path / "a.wav", **options)
        assert rate == 16000
        np.testing.assert_array_equal(voices, separate.recording(samples, 16000, **options))
    mean, _ = separate.file(str(tmp_path / "a.wav"))
    paths = [tmp_path / "a.wav", tmp_path / "none.wav"]
    done, failed = separate.files(paths, tmp_path / "out", rtf=1e6)
    assert (done.status, failed.status, done.n_re) == ("done", "failed", [3])
    done, _ = separate.files(paths, tmp_path / "out", existing="overwrite")
    for path, wave in zip(done.outputs, mean, strict=True):
        np.testing.assert_allclose(soundfile.read(path)[0], wave, rtol=0, atol=1e-6)
    with pytest.raises(TisdissError, match=r"none.wav: no such file"):
        separate.file(paths[1])
    with pytest.raises(ValueError, match="n_re must be an integer from 1 to 1000"):
        separate.files(paths, tmp_path / "out", n_re=[0])  # before the first result is taken
    with pytest.raises(ValueError, match="n_re must be one depth"):
        separate.file(paths[0], n_re=[1, 2])
    (one,) = separate.files(str(paths[0]), tmp_path / "one")
    assert [path.name for path in one.outputs] == ["a_spk1.wav", "a_spk2.wav"]


def test_what_is_no_path_is_refused(separate, mixture, tmp_path):
    for path in (mixture, [tmp_path], b"a.wav", 3, None, io.BytesIO()):
        with pytest.raises(TisdissError, match="^expected a path, got "):
            separate.file(path)
        with pytest.raises(TisdissError, match="^expected a path, got "):
            separate.files([path], tmp_path / "out")
    with pytest.raises(TisdissError, match="give the folder of the separated files"):
        separate.files([], None)


def test_from_pretrained_takes_files(espnet_model, mixture):
    _, config, weights = espnet_model()
    built = SeparateSpeech.from_pretrained(train_config=config, model_file=weights, n_re=1)
    tagged = SeparateSpeech.from_pretrained(model_tag=str(weights), n_re=1)
    np.testing.assert_array_equal(tagged(mixture), built(mixture))
    assert isinstance(built, SeparateSpeech)
    np.testing.assert_array_equal(built(mixture), SeparateSpeech(config, weights)(mixture, n_re=1))


LENGTHS = (2000, 90, 1, 1411, 1333, 64, 129)  # shorter than the window of 128, too


def waves_of(lengths) -> list[np.ndarray]:
    return [np.random.randn(length).astype(np.float32) * 0.1 for length in lengths]


@pytest.mark.parametrize("model", [{}, LEARNED_ENCODER, {"model_conf": {}}])
def test_a_batch_of_different_lengths_gives_what_each_alone_does(espnet_model, model):
    _, config, weights = espnet_model(**model)
    separate, waves = SeparateSpeech(config, weights, dtype="float64"), waves_of(LENGTHS)
    alone = [separate.depths(wave[None], [1, 3]) for wave in waves]
    together = separate.depths(waves, [1, 3])
    batches = separate.batch(waves, n_re=3, batch_size=3)
    for index, wave in enumerate(waves):
        for n_re in (1, 3):
            (one,) = alone[index][n_re]
            assert together[n_re][index].shape == one.shape == (2, len(wave))
            np.testing.assert_allclose(together[n_re][index], one, atol=1e-10)
        np.testing.assert_allclose(batches[index], one, atol=1e-10)


def test_a_list_is_the_array_it_makes(separate, mixture):
    as_array = separate(mixture, n_re=2)
    as_list = separate.batch(list(mixture), n_re=2, scale="estimate")
    np.testing.assert_allclose(np.stack(as_list, 1), as_array, atol=1e-6)
    stable_array = separate.until_stable(mixture, n_re=4, stop_db=-60.0)
    stable_list = separate.until_stable(list(mixture), n_re=4, stop_db=-60.0)
    np.testing.assert_array_equal(stable_array.n_re, stable_list.n_re)
    np.testing.assert_array_equal(stable_list.waves, stable_array.waves)


def test_mixtures_without_samples_are_refused(separate):
    for mixtures in ([np.ones(10), np.ones(0)], [np.ones((2, 10))], [np.array([1, np.nan])], []):
        with pytest.raises(TisdissError, match="^mixture"):
            separate.batch(mixtures) if mixtures else separate.depths(mixtures, [1])
    with pytest.raises(
        TisdissError, match=r"^mixture 0 must be one channel with samples; got \(\)"
    ):
        separate.batch([1.0])
    with pytest.raises(TisdissError, match="^a.wav: is a path, not samples"):
        separate.batch("a.wav")
    with pytest.raises(TisdissError, match=r"must be \(batch, samples\); got \(10,\)"):
        separate.depths(np.ones(10), [1])


@pytest.mark.parametrize("half_weights", [False, True])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near_or_falls_back(espnet_model, mixture, dtype, half_weights, caplog):
    _, config, weights = espnet_model()
    exact = SeparateSpeech(config, weights)
    half = SeparateSpeech(config, weights, dtype=dtype, half_weights=half_weights)
    kept = {weight.dtype for weight in half.separator.parameters()}
    used = half_precision(dtype, "cpu") if half_weights else None
    assert kept == {used or torch.float32}
    for found, expected in (
        tuple(np.stack(one(mixture), 1) for one in (half, exact)),
        tuple(one.depths(mixture, [3], scale="estimate")[3] for one in (half, exact)),
    ):
        assert found[0].dtype == np.float32
        difference = np.square(np.array(found) - expected).sum() / np.square(expected).sum()
        if half_precision(dtype, "cpu") is None:
            assert difference == 0 and f"no {dtype} instructions" in caplog.text
        else:
            assert 0 < difference < 0.03  # untrained models amplify rounding
    with pytest.raises(ValueError, match="dtype must be one of auto, float32, float64, bfloat16"):
        SeparateSpeech(config, weights, dtype="int8")


@pytest.mark.parametrize("training_dtype", ["bfloat16", "float32"])
def test_auto_computes_as_the_model_was_trained(espnet_model, training_dtype, caplog):
    caplog.set_level("WARNING")  # other tests may have requested more
    conf = {**TINY, "training_dtype": training_dtype}
    _, config, weights = espnet_model(separator_conf=conf)
    model = SeparateSpeech(config, weights, dtype="auto")
    native = half_precision("auto", "cpu") is not None and training_dtype == "bfloat16"
    assert model.precision == ("bfloat16" if native else "float32")
    assert not caplog.text


def test_a_copy_has_weights_of_its_own(espnet_model, mixture):
    _, config, weights = espnet_model()
    original = SeparateSpeech(config, weights, dtype="bfloat16")
    copy = pickle.loads(pickle.dumps(original))
    np.testing.assert_array_equal(copy(mixture), original(mixture))
    for weight in copy.separator.parameters():
        weight.data.zero_()
    assert np.abs(copy(mixture)).max() == 0 < np.abs(original(mixture)).max()


@pytest.mark.slow
def test_compiled_blocks_give_the_same(espnet_model, mixture):
    _, config, weights = espnet_model()
    compiled = SeparateSpeech(config, weights, compiled=True)
    expected = SeparateSpeech(config, weights)(mixture)
    np.testing.assert_allclose(compiled(mixture), expected, rtol=1e-3, atol=1e-4)
    assert (
        compiled.separator.state_dict().keys()
        == SeparateSpeech(config, weights).separator.state_dict().keys()
    )


def test_double_precision(espnet_model, mixture):
    _, config, weights = espnet_model()
    single, double = (SeparateSpeech(config, weights, dtype=d) for d in ("float32", "float64"))
    found = double.depths(mixture, [2], scale="estimate")[2]
    assert found[0].dtype == np.float64
    rounding = np.array(found) - np.stack(single(mixture, n_re=2), 1)
    assert 0 < np.square(rounding).mean() < 1e-10 * np.square(found).mean()


def test_sample_rate_is_the_models(espnet_model):
    _, config, weights = espnet_model(separator_conf={**TINY, "sample_rate": 16000})
    assert SeparateSpeech(config, weights).sample_rate == 16000
    assert SeparateSpeech(config, weights, sample_rate=8000).sample_rate == 8000


def test_the_first_part_of_a_joint_model(mixture, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = write_joint_model(tmp_path, EnhS2TTask)
    stock = enh_inference.SeparateSpeech(*files, enh_s2t_task=True)
    ours = SeparateSpeech(*files, enh_s2t_task=True)
    mixture = mixture[:, : 31 * 64]
    np.testing.assert_array_equal(ours(mixture), stock(mixture))
    assert ours.within(mixture, 1e6, n_re=3).n_re.tolist() == [3] * len(mixture)
    weights = torch.load(files[1], weights_only=True)
    del weights["enh_model.separator.conv.0.bias"]
    torch.save(weights, files[1])
    with pytest.raises(TisdissError, match="missing: .*separator.conv.0.bias; left over: none"):
        SeparateSpeech(*files, enh_s2t_task=True)
