"""Scores by depth against known values, ESPnet's and mir_eval's; data sets; broken files."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr
import torch
from espnet2.enh.loss.criterions.time_domain import SISNRLoss
from espnet2.enh.loss.wrappers.pit_solver import PITSolver

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.audio.noise import speech_shaped_noise
from espnet2_tisdiss.audio.rumble import without_rumble
from espnet2_tisdiss.evaluate.by_depth import MixtureScores, Score, score_mixtures
from espnet2_tisdiss.evaluate.means import DepthResult, best_depth, enough_depth, summarise
from espnet2_tisdiss.evaluate.mixtures import (
    EvalMixture,
    find_mixtures,
    read_signals,
    with_length,
)
from espnet2_tisdiss.separate.interface import Estimate

RATE = 8000


def orthogonal(rows: int, length: int = RATE) -> np.ndarray:
    """Return signals (rows, length) of zero mean, unit power and no correlation."""
    noise = np.random.randn(length, rows)
    return np.linalg.qr(noise - noise.mean(0))[0].T * np.sqrt(length)


def write_corpus(folder: Path, sources: dict[str, np.ndarray], rate: int = RATE) -> Path:
    """Write mix/, s1/, s2/, ... of named sources (j, n)."""
    for name, signals in sources.items():
        rows = {"mix": signals.sum(0), **{f"s{j}": row for j, row in enumerate(signals, start=1)}}
        for part, row in rows.items():
            (folder / part).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / part / f"{name}.wav", row, rate, "FLOAT")
    return folder


class Planted:
    """Replaces a model: returns the estimates (depth, j, n) that are known for a length n."""

    sample_rate = RATE

    def __init__(self, *estimates: np.ndarray):
        self._estimates = {waves.shape[-1]: waves for waves in estimates}

    def anytime(self, mixtures, n_re, scale):
        for depth in range(n_re):
            waves = [self._estimates[len(mixture)][depth] for mixture in mixtures]
            yield Estimate(np.full(len(waves), depth + 1), waves)

    def depths(self, mixtures, n_re):
        return {depth: [self._estimates[len(wave)] for wave in mixtures] for depth in n_re}


def score_planted(
    folder: Path, sources: np.ndarray, *estimates: np.ndarray, **options
) -> MixtureScores:
    mixtures = find_mixtures(write_corpus(folder, {"a": sources}), len(sources))
    depths = range(1, len(estimates) + 1)
    (result,) = score_mixtures(Planted(np.stack(estimates)), mixtures, depths, **options)
    assert result.reason == ""
    return result


def test_planted_scores_and_orders(tmp_path):
    first, second, *noise = orthogonal(4)
    sources = np.stack([first, second])  # of equal power: the mixture's own SI-SNR is 0 dB
    noise = np.stack(noise)

    def noisy(decibels):
        return sources + noise * 10 ** (-np.array(decibels)[:, None] / 20)

    swapped = noisy([10, 20])[::-1]
    result = score_planted(
        tmp_path,
        sources,
        noisy([3, 5]),
        -2.5 * swapped + 0.7,  # neither gain nor offset matters
        noisy([30, 40]),
    )
    assert [score.n_re for score in result.scores] == [1, 2, 3]
    assert [score.order for score in result.scores] == [(1, 2), (2, 1), (1, 2)]
    assert [score.si_snr for score in result.scores] == pytest.approx([4, 15, 35], abs=1e-3)
    assert [score.si_snri for score in result.scores] == pytest.approx([4, 15, 35], abs=1e-3)
    assert all(score.sdr is None and score.rtf >= 0 for score in result.scores)


def test_si_snr_is_espnets(tmp_path):
    sources = np.random.randn(3, 4000)
    estimate = sources[[2, 0, 1]] + np.random.randn(3, 4000) * [[0.1], [1], [3]] + 0.2
    (score,) = score_planted(tmp_path, sources, estimate).scores
    ref, inf = ([torch.from_numpy(row)[None] for row in rows] for rows in (sources, estimate))
    loss, _, others = PITSolver(SISNRLoss())(ref, inf)
    assert score.si_snr == pytest.approx(-loss.item(), abs=1e-3)
    assert [number - 1 for number in score.order] == others["perm"][0].tolist()
    mix = [torch.from_numpy(sources.sum(0))[None]] * 3
    own = -PITSolver(SISNRLoss())(ref, mix)[0].item()
    assert score.si_snri == pytest.approx(score.si_snr - own, abs=1e-3)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_sdr_is_mir_evals(tmp_path):
    from mir_eval.separation import bss_eval_sources

    sources = np.stack([speech_shaped_noise(2, RATE, seed) for seed in (1, 2)]).astype(float)
    estimate = sources[::-1] + [[0.3], [0.6]] * np.roll(sources, 50, axis=1)
    (score,) = score_planted(tmp_path, sources, estimate, with_sdr=True).scores
    sdr, _, _, order = bss_eval_sources(sources, estimate)
    own, *_ = bss_eval_sources(sources, np.stack([sources.sum(0)] * 2), False)
    assert score.order == tuple(order + 1) == (2, 1)
    assert score.sdr == pytest.approx(sdr.mean(), abs=0.01)
    assert score.sdri == pytest.approx(sdr.mean() - own.mean(), abs=0.01)


def test_scores_stay_finite(tmp_path):
    # a perfect estimate and silence would be plus and minus infinity, and so would their means
    sources = orthogonal(2)
    perfect, silent = sources.astype(np.float32), np.zeros_like(sources)
    scores = score_planted(tmp_path, sources, perfect, silent, with_sdr=True).scores
    assert [score.si_snr for score in scores] == pytest.approx([100, -100], abs=1e-6)
    assert scores[0].sdr > 60 and scores[1].sdr == pytest.approx(-100)


@pytest.fixture
def model(espnet_model) -> SeparateSpeech:
    _, config, weights = espnet_model()
    return SeparateSpeech(config, weights)


def speech(*seconds: float, rate: int = RATE) -> dict[str, np.ndarray]:
    return {
        f"m{index}": np.stack([speech_shaped_noise(s, rate, 2 * index + j) for j in (0, 1)])
        for index, s in enumerate(seconds)
    }


def test_one_run_scores_what_a_run_for_each_depth_gives(model, tmp_path):
    sources = speech(0.5, 0.8, 0.3)
    mixtures = find_mixtures(write_corpus(tmp_path / "set", sources), 2)
    done = []
    results = list(score_mixtures(model, mixtures, [4, 1], on_progress=done.append))
    assert sum(done) == pytest.approx(1.6)
    # longest first
    assert [result.mixture.name for result in results] == ["m1", "m0", "m2"]
    for result in results:
        mixture = soundfile.read(result.mixture.path, dtype="float32")[0]
        heard = without_rumble(mixture, RATE)
        for score, n_re in zip(result.scores, (1, 4), strict=True):
            waves = np.concatenate(model(heard[None], n_re=n_re)).astype(np.float64)
            expected = best_si_snr(sources[result.mixture.name], waves)
            assert (score.n_re, score.si_snr) == (n_re, pytest.approx(expected, abs=1e-3))
    batched = score_mixtures(model, mixtures, [1, 4], batch_size=2)
    for one, other in zip(results, batched, strict=True):
        assert other.mixture == one.mixture and one.mixture.seconds > 0
        expected = [pytest.approx(score.si_snr, abs=1e-3) for score in one.scores]
        assert [score.si_snr for score in other.scores] == expected


def test_rumble_of_the_sources_may_not_count(tmp_path):
    (sources,) = speech(0.5).values()
    rumbling = sources + 3 * np.sin(2 * np.pi * 2 * np.arange(sources.shape[1]) / RATE)
    (mixture,) = find_mixtures(write_corpus(tmp_path / "set", {"m": rumbling}), 2)
    perfect = np.stack([without_rumble(one, RATE) for one in rumbling.astype(np.float32)])
    (heard,), (not_heard,) = (
        next(score_mixtures(Planted(perfect[None]), [mixture], [1], audible=audible)).scores
        for audible in (True, False)
    )
    assert heard.si_snr > 60 and not_heard.si_snr < 0


def best_si_snr(references: np.ndarray, waves: np.ndarray) -> float:
    """Return the mean SI-SNR in the better of the two orders, by its definition."""
    references = references - references.mean(1, keepdims=True)
    waves = waves - waves.mean(1, keepdims=True)

    def mean(estimates):
        target = (estimates * references).sum(1) / np.square(references).sum(1)
        target = target[:, None] * references
        noise = np.square(estimates - target).sum(1)
        return (10 * np.log10(np.square(target).sum(1) / noise)).mean()

    return max(mean(waves), mean(waves[::-1]))


def test_what_is_wrong_with_a_mixture_is_its_own(model, tmp_path):
    data = write_corpus(tmp_path / "set", speech(*[0.3] * 7))
    soundfile.write(data / "s2/m0.wav", np.zeros(2400), RATE)
    (data / "s1/m1.wav").write_bytes(b"no audio")
    soundfile.write(data / "s2/m2.wav", np.ones(2399), RATE)
    soundfile.write(data / "mix/m3.wav", np.random.randn(2400, 2), RATE)
    (data / "s2/m4.wav").unlink()
    soundfile.write(data / "s1/m5.wav", np.random.randn(2400), 16000)
    done = []
    run = score_mixtures(model, find_mixtures(data, 2), [1], batch_size=3, on_progress=done.append)
    results = {result.mixture.name: result for result in run}
    assert sum(done) == pytest.approx(7 * 0.3)
    expected = {
        "m0": ("left out", "s2/m0.wav: is silent"),
        "m1": ("failed", "s1/m1.wav: not a readable audio file"),
        "m2": ("failed", "s2/m2.wav: 2399 samples at 8000 Hz, but its mixture has 2400 at 8000"),
        "m3": ("failed", "mix/m3.wav: has 2 channels"),
        "m4": ("failed", "s2/m4.wav: no such file"),
        "m5": ("failed", "s1/m5.wav: is at 16000 Hz, the model at 8000"),
    }
    for name, (status, reason) in expected.items():
        assert results[name].status == status
        assert results[name].reason.startswith(f"{data}/{reason}")
        assert results[name].scores == []
    assert results["m6"].status == "done" and len(results["m6"].scores) == 1


def test_an_estimate_that_is_not_finite_fails_its_mixture_alone(tmp_path):
    good, bad = orthogonal(2, 3000), orthogonal(2, 4000)
    data = write_corpus(tmp_path, {"bad": bad, "good": good})
    broken = np.stack([bad, np.where(bad > 1, np.nan, bad)])
    model = Planted(broken, np.stack([good, good]))
    results = list(score_mixtures(model, find_mixtures(data, 2), [1, 2], batch_size=2))
    assert [result.status for result in results] == ["failed", "done"]
    assert "bad.wav: its estimate at N_re 2 holds samples that are not" in results[0].reason
    assert results[0].scores == [] and len(results[1].scores) == 2


def test_running_out_of_memory_fails_the_batch_alone(model, tmp_path, monkeypatch):
    mixtures = find_mixtures(write_corpus(tmp_path / "set", speech(0.6, 0.3)), 2)
    encode = model._transforms.encode

    def encode_little(waves):
        if len(waves[0]) > 4000:
            raise RuntimeError("out of memory\nmore about it")
        return encode(waves)

    monkeypatch.setattr(model._transforms, "encode", encode_little)
    results = list(score_mixtures(model, mixtures, [2]))
    assert [result.status for result in results] == ["failed", "done"]
    path = tmp_path / "set/mix/m0.wav"
    assert results[0].reason == f"{path}: cannot be separated: out of memory"


def test_another_rate_is_refused_or_converted(tmp_path):
    # nothing near 4 kHz, where the resampling filters cut
    lowpass = scipy.signal.butter(10, 3000, fs=RATE, output="sos")
    sources = scipy.signal.sosfiltfilt(lowpass, orthogonal(2)) * scipy.signal.windows.hann(RATE)
    doubled = soxr.resample(sources.T, RATE, 2 * RATE).T
    (mixture,) = find_mixtures(write_corpus(tmp_path, {"m": doubled}, 2 * RATE), 2)
    message = "m.wav: is at 16000 Hz, the model at 8000; .*--resample"
    with pytest.raises(TisdissError, match=message):
        with_length(mixture, RATE)
    assert with_length(mixture).seconds == 1
    estimate = sources + 0.1 * np.random.randn(2, RATE)
    (refused,) = score_mixtures(Planted(estimate[None]), [mixture], [1])
    assert refused.status == "failed" and re.search(message, refused.reason)
    (converted,) = score_mixtures(Planted(estimate[None]), [mixture], [1], resample=True)
    expected = best_si_snr(sources, estimate)
    assert converted.scores[0].si_snr == pytest.approx(expected, abs=0.01)


def data_dir(folder: Path, **lists: dict[str, object]) -> Path:
    folder.mkdir()
    for name, table in lists.items():
        text = "".join(f"{key} {path}\n" for key, path in table.items())
        (folder / f"{name}.scp").write_text(text)
    return folder


def test_data_sets_in_their_layouts(tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "tt", speech(0.1, 0.1))
    (corpus / "mix/notes.txt").write_text("no audio")
    expected = [
        EvalMixture(
            name, corpus / f"mix/{name}.wav", tuple(corpus / f"{s}/{name}.wav" for s in SPK)
        )
        for name in ("m0", "m1")
    ]
    assert find_mixtures(corpus, 2) == expected
    assert find_mixtures(corpus / "mix", 2) == expected
    (corpus / "mix").rename(corpus / "mix_clean")
    assert [m.path for m in find_mixtures(corpus, 2)] == sorted(corpus.glob("mix_clean/*.wav"))
    (corpus / "mix_both").symlink_to("mix_clean")
    with pytest.raises(TisdissError, match="holds mix_clean and mix_both; choose one"):
        find_mixtures(corpus, 2)
    found = find_mixtures(corpus / "mix_both", 2)
    assert [mixture.path.parent.name for mixture in found] == ["mix_both"] * 2
    # paths in a data directory are relative to the current folder
    monkeypatch.chdir(tmp_path)
    listed = {part: {"k": f"tt/{part}/m0.wav"} for part in ("mix_clean", *SPK)}
    wav, spk1, spk2 = listed.values()
    (mixture,) = find_mixtures(data_dir(tmp_path / "set", wav=wav, spk1=spk1, spk2=spk2), 2)
    references = tuple(Path(f"tt/{s}/m0.wav") for s in SPK)
    assert mixture == EvalMixture("k", Path("tt/mix_clean/m0.wav"), references)


def test_a_data_directory_with_segments(tmp_path):
    sources = speech(0.5)
    corpus = write_corpus(tmp_path / "tt", sources)
    lists = {
        name: {"r": corpus / f"{part}/m0.wav"} for name, part in zip(LISTS, PARTS, strict=True)
    }
    data = data_dir(tmp_path / "set", **lists)
    (data / "segments").write_text("u r 0.125 0.375\n")
    (mixture,) = find_mixtures(data, 2)
    assert (mixture.name, with_length(mixture).seconds) == ("u", 0.25)
    signals = read_signals((mixture.path, *mixture.references), RATE, RATE)
    files = [soundfile.read(corpus / f"{part}/m0.wav", dtype="float32")[0] for part in PARTS]
    np.testing.assert_array_equal(signals, np.stack(files)[:, RATE // 8 : 3 * RATE // 8])


SPK = ("s1", "s2")
PARTS = ("mix", *SPK)
LISTS = ("wav", "spk1", "spk2")


def test_what_a_data_set_lacks_is_reported(tmp_path):
    corpus = write_corpus(tmp_path / "tt", speech(0.1))
    audio = {"k": corpus / "mix/m0.wav"}
    cases = {
        "spk2": (dict(wav=audio, spk1=audio), "spk2.scp: missing; the model separates 2 speakers"),
        "key": (
            dict(wav=audio, spk1=audio, spk2={"l": audio["k"]}),
            "spk2.scp: has no entry k, which",
        ),
        "spk3": (
            dict(wav=audio, spk1=audio, spk2=audio, spk3=audio),
            "spk3.scp: the data set has more speakers than the model's 2",
        ),
        "pipe": (
            dict(wav={"k": "cat a |"}, spk1=audio, spk2=audio),
            "wav.scp: k: is a command, not the path",
        ),
        "place": (dict(wav={"k": "a/b.wav"}, spk1=audio, spk2=audio), "such as a/b.wav; run this"),
        "empty": (dict(wav={}, spk1=audio, spk2=audio), "wav.scp: the list is empty"),
    }
    for name, (lists, message) in cases.items():
        with pytest.raises(TisdissError, match=message.replace("|", r"\|")):
            find_mixtures(data_dir(tmp_path / name, **lists), 2)
    with pytest.raises(TisdissError, match="s3: missing; the model separates 3 speakers"):
        find_mixtures(corpus, 3)
    with pytest.raises(TisdissError, match="s2: the data set has more speakers than the model's 1"):
        find_mixtures(corpus, 1)
    with pytest.raises(TisdissError, match="s2: holds neither wav.scp nor mix"):
        find_mixtures(corpus / "s2", 2)  # a source is not a mixture
    (corpus / "mix/m0.wav").unlink()
    with pytest.raises(TisdissError, match="holds no audio files"):
        find_mixtures(corpus, 2)
    with pytest.raises(TisdissError, match="holds neither wav.scp nor mix"):
        find_mixtures(tmp_path, 2)
    with pytest.raises(TisdissError, match="no such folder"):
        find_mixtures(tmp_path / "nowhere", 2)


def test_means():
    results = [
        MixtureScores(
            EvalMixture(str(index), Path(), (), seconds),
            scores=[Score(n, (1, 2), gain + n, gain, rtf) for n in (1, 3)],
        )
        for index, (seconds, gain, rtf) in enumerate([(1, 0.0, 0.4), (3, 10.0, 0.2)])
    ]
    results.insert(1, MixtureScores(EvalMixture("silent", Path(), ()), "left out"))
    first, second = summarise(results, {1: 2e9, 3: 4e9})
    # the time of all mixtures by the seconds of all
    assert first == DepthResult(1, 2, 6.0, 5.0, 1.0, 9.0, None, None, 2.0, pytest.approx(0.25))
    assert (second.n_re, second.si_snr, second.gmacs_per_s) == (3, 8.0, 4.0)


@pytest.mark.parametrize(
    ("gains", "best", "enough"),
    [
        ([5.0], 1, 1),
        ([1.0, 2.0, 3.0], 3, 3),
        ([1.0, 2.0, 2.04, 1.5], 3, 2),
        # each gain is small, but not all of them together
        ([1.0, 1.03, 1.06, 1.08], 4, 3),
        ([3.0, 2.0, 1.0], 1, 1),
    ],
)
def test_best_and_enough(gains, best, enough):
    results = [
        DepthResult(n_re, 1, gain, gain, gain, gain, None, None, 1.0, 1.0)
        for n_re, gain in enumerate(gains, start=1)
    ]
    assert (best_depth(results), enough_depth(results)) == (best, enough)
