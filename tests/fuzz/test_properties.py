"""Properties that hold for samples of any length, type, level and layout.

The default cases are the same in every run; the slow ones start from a seed that is in the report.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st
from models import TINY

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.audio.reading import probe, read_blocks
from espnet2_tisdiss.audio.resampling import Resampler
from espnet2_tisdiss.separate.chunking import Chunking

SEED = 20261129  # of the slow cases
COMMON = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
FEW = settings(max_examples=40, derandomize=True, **COMMON)
MANY = settings(max_examples=700, **COMMON)
RATES = [1000, 8000, 11025, 16000, 44100, 48000, 192000]
SUBTYPES = {"wav": ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"], "flac": ["PCM_16"]}


@dataclass(frozen=True)
class Samples:
    """Noise in some form; ``array`` makes it."""

    length: int
    channels: int | None
    dtype: str
    level: float
    layout: str

    def array(self) -> np.ndarray | torch.Tensor:
        shape = (self.length,) if self.channels is None else (self.length, self.channels)
        noise = np.random.default_rng(self.length).uniform(-1, 1, shape) * self.level
        dtype = np.dtype(self.dtype)
        if dtype.kind in "iu":
            zero = 128 if dtype.kind == "u" else 0
            noise = np.clip(noise, -0.99, 0.99) * 2 ** (8 * dtype.itemsize - 1) + zero
        array = noise.astype(dtype)
        match self.layout:
            case "reversed":
                return array[::-1]
            case "strided":
                return np.repeat(array, 3, axis=0)[::3]
            case "fortran":
                return np.asfortranarray(array)
            case "read-only":
                array.flags.writeable = False
            case "list":
                return array if self.length > 1000 else list(array)
            case "tensor":
                return torch.from_numpy(array.astype(dtype.newbyteorder("=")))
        return array


def samples(longest: int) -> st.SearchStrategy[Samples]:
    return st.builds(
        Samples,
        length=st.integers(0, longest),
        channels=st.sampled_from([None, 1, 2, 3]),
        dtype=st.sampled_from(["<f4", ">f4", "f8", "f2", "u1", "i1", "<i2", ">i2", "i4"]),
        level=st.sampled_from([0.0, 1e-30, 1e-5, 0.1, 1.0, 50.0]),
        layout=st.sampled_from(["plain", "reversed", "strided", "fortran", "read-only", "tensor"]),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> SeparateSpeech:
    from espnet2_tisdiss.network.assembly import build_network

    folder = tmp_path_factory.mktemp("model")
    stft = {"n_fft": 128, "hop_length": 64}
    config = {
        **{"encoder": "stft", "encoder_conf": stft, "decoder": "stft", "decoder_conf": stft},
        **{"separator": "tisdiss", "separator_conf": {**TINY, "mask": True}},
    }
    (folder / "config.yaml").write_text(str(config))
    torch.manual_seed(0)
    torch.save(build_network(config).state_dict(), folder / "model.pth")
    return SeparateSpeech(folder / "config.yaml", folder / "model.pth")


def holds_for_a_recording(model: SeparateSpeech, given: Samples, rate: int) -> None:
    """The shape is the input's, the numbers finite and no louder, silence stays silent."""
    try:
        found = model.recording(given.array(), rate, n_re=1)
    except TisdissError as error:
        # fewer samples than channels are taken for swapped axes
        assert given.length < (given.channels or 1) and "\n" not in str(error)
        return
    assert found.dtype == np.float32 and found.shape == (2, given.length)
    assert np.isfinite(found).all()
    if given.level == 0 and given.dtype != "u1":
        assert not found.any()
    if given.length <= 10_000:
        again = model.recording(given.array(), rate, n_re=1)
        np.testing.assert_array_equal(found, again)


@pytest.mark.promise("any-samples")
def test_a_recording_of_any_form(model, record_property):
    @FEW
    @given(samples(2000), st.sampled_from(RATES))
    @example(Samples(10**6, None, "<i2", 0.1, "plain"), 192000)
    def holds(given: Samples, rate: int) -> None:
        holds_for_a_recording(model, given, rate)

    record_property("cases", FEW.max_examples + 1)
    holds()


@pytest.mark.slow
@pytest.mark.promise("any-samples")
def test_a_recording_of_any_form_and_length(model, record_property):
    @seed(SEED)
    @MANY
    @given(st.one_of(samples(3000), samples(10**6)), st.sampled_from(RATES))
    def holds(given: Samples, rate: int) -> None:
        holds_for_a_recording(model, given, rate)

    record_property("cases", MANY.max_examples)
    record_property("seeds", f"hypothesis {SEED}")
    holds()


def holds_for_a_file(folder: Path, given: Samples, rate: int, suffix: str, subtype: str) -> None:
    """A file that libsndfile writes has its length, rate and samples."""
    array = np.asarray(given.array())
    path = folder / f"a.{suffix}"
    soundfile.write(path, array.astype(array.dtype.newbyteorder("=")), rate, subtype)
    if not given.length:
        with pytest.raises(TisdissError):
            probe(path)
        return
    info = probe(path)
    assert (info.rate, info.frames, info.channels) == (rate, given.length, given.channels or 1)
    found = np.concatenate(list(read_blocks(path, "each")), axis=1)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(found.T, expected)


FILES = [(suffix, subtype) for suffix, subtypes in SUBTYPES.items() for subtype in subtypes]
WRITTEN = st.builds(
    Samples,
    length=st.integers(0, 50_000),
    channels=st.sampled_from([None, 1, 2, 5]),
    dtype=st.sampled_from(["f4", "f8", "i2", "i4"]),
    level=st.sampled_from([0.0, 1e-5, 0.1, 0.99]),
    layout=st.just("plain"),
)


@pytest.mark.promise("any-samples")
@pytest.mark.parametrize(
    "cases", [FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["40", "700"]
)
def test_a_file_of_any_form(cases, tmp_path, record_property):
    def holds(given: Samples, rate: int, file: tuple[str, str]) -> None:
        holds_for_a_file(tmp_path, given, rate, *file)

    test = given(WRITTEN, st.sampled_from(RATES), st.sampled_from(FILES))(holds)
    test = cases(test) if cases is FEW else seed(SEED)(cases(test))
    record_property("cases", cases.max_examples)
    test()


@pytest.mark.promise("any-samples")
def test_chunks_cover_any_length_and_rates_come_back(record_property):
    @FEW
    @given(st.integers(0, 10**6), st.integers(1, 5000), st.floats(0, 0.99), st.sampled_from(RATES))
    def chunks(length: int, chunk: int, share: float, rate: int) -> None:
        chunking = Chunking(chunk, int(share * chunk))
        total = chunking.separated(length)
        assert length <= total <= max(length, 1 + length // chunking.hop) * chunk + chunk

    @FEW
    @given(st.integers(0, 20_000), st.sampled_from(RATES), st.sampled_from(RATES))
    def resampling(length: int, there: int, back: int) -> None:
        block = np.random.default_rng(length).uniform(-0.5, 0.5, (1, length)).astype(np.float32)
        first, second = Resampler(there, back), Resampler(back, there, total=length)
        middle = np.concatenate([first.push(block), first.finish()], axis=1)
        assert middle.shape == (1, -(-length * back // there)) and np.isfinite(middle).all()
        assert sum(part.shape[1] for part in (second.push(middle), second.finish())) == length

    record_property("cases", 2 * FEW.max_examples)
    chunks()
    resampling()
