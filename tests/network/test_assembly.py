"""A model built without ESPnet's task is the one that ESPnet builds."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from espnet2.bin import enh_inference
from espnet2.enh.espnet_model import ESPnetEnhancementModel
from models import LEARNED_ENCODER, TINY

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.network.assembly import Network, build_network
from espnet2_tisdiss.pretrained.bundled import example

STFT = {"n_fft": 128, "hop_length": 64}


@pytest.fixture
def mixture() -> np.ndarray:
    # a multiple of the hop, which is not padded
    return np.random.randn(3, 93 * 64).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "overrides",
    [
        {},
        LEARNED_ENCODER,
        {"model_conf": {}},
        {"model_conf": {"normalize_variance_per_ch": True, "loss_type": "snr"}},
        {part: {**STFT, "window": "hamming"} for part in ("encoder_conf", "decoder_conf")},
        {"encoder_conf": {**STFT, "use_builtin_complex": False}},
        {"encoder_conf": {**STFT, "spec_transform_type": "exponent"}},
    ],
)
def test_separates_as_espnets_model_to_the_last_bit(espnet_model, mixture, overrides, dtype):
    _, config, weights = espnet_model(**overrides)
    espnets = enh_inference.SeparateSpeech(config, weights, dtype=dtype)
    ours = SeparateSpeech(config, weights, dtype=dtype)
    assert isinstance(ours.enh_model, Network)
    # ours adds the padding that a learned encoder needs beyond the end
    n, beyond = mixture.shape[1], 8 if overrides == LEARNED_ENCODER else 0
    expected = espnets(np.pad(mixture, ((0, 0), (0, beyond))))
    np.testing.assert_array_equal(ours(mixture), [wave[:, :n] for wave in expected])
    assert ours.enh_model.state_dict().keys() == espnets.enh_model.state_dict().keys()
    assert vars(ours.enh_train_args) == vars(espnets.enh_train_args)
    own = set(vars(espnets)) - {"sfi_processing"}
    for name in own - {"enh_model", "enh_train_args"}:
        assert getattr(ours, name) == getattr(espnets, name), name


def test_options_that_are_not_known_make_it_espnets(espnet_model, mixture):
    _, config, weights = espnet_model(model_conf={"categories": ["1ch_8k", "1ch_8k_reverb"]})
    ours = SeparateSpeech(config, weights)
    assert isinstance(ours.enh_model, ESPnetEnhancementModel)
    espnets = enh_inference.SeparateSpeech(config, weights)
    category = {"utt2category": torch.tensor([0])}
    np.testing.assert_array_equal(ours(mixture, **category), espnets(mixture, **category))
    with pytest.raises(ValueError, match="is not listed in self.categories"):
        ours(mixture, utt2category=torch.tensor([7]))


def test_without_weights_it_is_espnets_with_its_initialisation(espnet_model):
    _, config, _ = espnet_model()
    assert isinstance(SeparateSpeech(config).enh_model, ESPnetEnhancementModel)


def test_one_channel_on_an_axis_of_its_own(espnet_model, mixture):
    _, config, weights = espnet_model()
    separate = SeparateSpeech(config, weights)
    espnets = enh_inference.SeparateSpeech(config, weights)
    np.testing.assert_allclose(separate(mixture[..., None]), espnets(mixture[..., None]), rtol=1e-4)
    with pytest.raises(ValueError, match="speech_mix must be an array"):
        separate(np.stack([mixture, mixture], 2))


def test_options_of_a_call_may_be_changed_later(espnet_model, mixture):
    _, config, weights = espnet_model()
    for options in ({}, {"segment_size": 0.4, "hop_size": 0.2}):
        separate = SeparateSpeech(config, weights, **options)
        separate.normalize_output_wav = True
        for wave in separate(mixture):
            np.testing.assert_allclose(np.abs(wave).max(1), 0.9, rtol=1e-6)


def test_the_order_of_segments_is_espnets(espnet_model):
    _, config, weights = espnet_model()
    before = torch.randn(2, 3, 4000)
    order = SeparateSpeech(config, weights).cal_permumation(before, before.flip(0))
    assert order.tolist() == [[1, 0]] * 3


@pytest.mark.parametrize("lost", ["encoder", "separator_conf", "decoder"])
def test_a_configuration_that_lacks_a_part_is_one_line(espnet_model, lost):
    _, config, weights = espnet_model()
    options = yaml.safe_load(config.read_text())
    del options[lost]
    config.write_text(yaml.safe_dump(options))
    told = f"the model cannot be loaded: the configuration has no {lost}; take the one that the"
    with pytest.raises(TisdissError, match=told) as caught:
        SeparateSpeech(config, weights)
    assert "\n" not in str(caught.value)
    config.write_text("- encoder\n")
    with pytest.raises(TisdissError, match="config.yaml: .* it holds a list$"):
        SeparateSpeech(config, weights)


@pytest.mark.parametrize(
    "changes",
    [
        {"separator": "rnn"},
        {"model_conf": {"always_forward_in_48k": True}},
        {"model_conf": {"normalize_variance": True, "normalize_variance_per_ch": True}},
        {"use_adapter": True},
        {"diffusion_model": "sgmse"},
    ],
)
def test_what_only_espnet_can_build_is_left_to_it(changes):
    parts = {"encoder": "stft", "encoder_conf": STFT, "decoder": "stft", "decoder_conf": STFT}
    config = {**parts, "separator": "tisdiss", "separator_conf": TINY}
    assert isinstance(build_network(config), Network)
    assert build_network({**config, **changes}) is None


# --- what does not fit ------------------------------------------------------------------------

CONV = LEARNED_ENCODER["encoder_conf"]
DIFFER = "the decoder must undo the encoder; give both the same"
MISFITS = {
    f"encoder_conf has hop_length 64 and decoder_conf hop_length 32: {DIFFER}": {
        "decoder_conf": {**STFT, "hop_length": 32}
    },
    f"encoder_conf has n_fft 128 and decoder_conf n_fft 512: {DIFFER}": {
        "decoder_conf": {"hop_length": 64}
    },
    f"encoder_conf has center True and decoder_conf center False: {DIFFER}": {
        "decoder_conf": {**STFT, "center": False, "window": "hamming"}
    },
    f"encoder_conf has win_length 128 and decoder_conf win_length 64: {DIFFER}": {
        "encoder_conf": {"n_fft": 128, "hop_length": 32},
        "decoder_conf": {"n_fft": 128, "hop_length": 32, "win_length": 64},
    },
    f"encoder_conf has window 'hann' and decoder_conf window 'hamming': {DIFFER}": {
        "decoder_conf": {**STFT, "window": "hamming"}
    },
    f"encoder_conf has normalized False and decoder_conf normalized True: {DIFFER}": {
        "decoder_conf": {**STFT, "normalized": True}
    },
    f"encoder_conf has stride 8 and decoder_conf stride 4: {DIFFER}": {
        **LEARNED_ENCODER,
        "decoder_conf": {**CONV, "stride": 4},
    },
    "encoder stft and decoder conv do not fit: a TISDiSS takes stft or conv for both": {
        "decoder": "conv",
        "decoder_conf": CONV,
    },
    "separator_conf: segment_size is missing: encoder conv needs it": {
        **LEARNED_ENCODER,
        "separator_conf": TINY,
    },
    "separator_conf: segment_size needs encoder conv": {
        "separator_conf": {**TINY, "segment_size": 20, "mask": True}
    },
    "decoder_conf: windows hann of 128 samples every 128, with center true, leave gaps; give .*": {
        "encoder_conf": {"n_fft": 128, "hop_length": 128},
        "decoder_conf": {"n_fft": 128, "hop_length": 128},
    },
    "encoder_conf: hop_length must be an integer from 1 to 128; got 0": {
        "encoder_conf": {"n_fft": 128, "hop_length": 0}
    },
    "model_conf: normalize_variance must be true or false; got 'no'": {
        "model_conf": {"normalize_variance": "no"}
    },
}


@pytest.fixture
def changed_model(espnet_model):
    """Return a function that gives the files of a model, its configuration changed afterwards."""
    _, config, weights = espnet_model()
    options = yaml.safe_load(config.read_text())

    def change(**changes):
        config.write_text(yaml.safe_dump({**options, **changes}))
        return config, weights

    return change


@pytest.mark.promise("parts-fit")
def test_parts_that_do_not_fit_are_refused_at_load(changed_model, record_property):
    record_property("cases", len(MISFITS))
    for message, changes in MISFITS.items():
        config, weights = changed_model(**changes)
        with pytest.raises(TisdissError, match=f"^{config}: the model cannot .*: {message}$"):
            SeparateSpeech(config, weights)


@pytest.mark.promise("parts-fit")
def test_an_inference_configuration_that_does_not_fit_is_refused(changed_model, tmp_path):
    change = tmp_path / "inference.yaml"
    change.write_text("decoder_conf: {hop_length: 32}\n")
    with pytest.raises(TisdissError, match=f"^{change}: .* decoder_conf hop_length 32: "):
        SeparateSpeech(*changed_model(), inference_config=change)


@pytest.mark.promise("parts-fit")
@pytest.mark.parametrize("changes", [{"use_adapter": [1]}, {"diffusion_model": {"a": 1}}])
def test_what_espnet_fails_on_is_one_line(changed_model, changes):
    with pytest.raises(TisdissError, match="^[^\n]*: the model cannot be loaded: [^\n]*$"):
        SeparateSpeech(*changed_model(**changes))


@pytest.mark.promise("parts-fit")
def test_bands_are_of_one_sample_rate(espnet_model):
    bands = {**TINY, "band_split": "mel", "num_bands": 4, "mask": True, "sample_rate": 16000}
    _, config, weights = espnet_model(separator_conf=bands)
    assert SeparateSpeech(config, weights, sample_rate=16000).sample_rate == 16000
    with pytest.raises(
        TisdissError, match="bands are placed for 16000 Hz, and 8000 Hz were chosen"
    ):
        SeparateSpeech(config, weights, sample_rate=8000)


# --- what is imported -----------------------------------------------------------------------------

# Each takes a large part of a second or more.
HEAVY = ("espnet2.tasks", "espnet2.bin", "espnet2.layers", "espnet2.enh.espnet_model")
HEAVY += ("matplotlib", "pandas", "librosa", "numba", "sklearn", "fast_bss_eval")
# counting multiply-adds, on tensors without data, needs it
COMPILER = ("torch._dynamo", "torch._inductor", "sympy")


def imported(program: str) -> set[str]:
    """Return the modules that a process has imported at the end of a program."""
    program = f"{program}\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0 and not any(
        text in run.stderr for text in ("Failed to import", "WARNING", "Warning")
    ), run.stderr
    return set(run.stdout.splitlines()[-1].split())


def command(*arguments: object) -> str:
    """Return a program that runs the command line."""
    words = ["tisdiss", *map(str, arguments)]
    return (
        f"import sys; sys.argv = {words}\n"
        "from espnet2_tisdiss.cli.app import app; app(standalone_mode=False)"
    )


def heavy(modules: set[str], names: tuple[str, ...]) -> list[str]:
    """Return the modules that are one of the names, or below one."""
    return sorted(
        m for m in modules if any(m == name or m.startswith(f"{name}.") for name in names)
    )


def test_to_load_and_call_a_model_takes_neither_espnets_task_nor_the_compiler():
    modules = imported(
        "import numpy as np\n"
        "from espnet2_tisdiss import SeparateSpeech\n"
        "separate = SeparateSpeech.from_pretrained()\n"
        "separate(np.ones((1, 8000))), separate.depths(np.ones((1, 8000)), [1], 'estimate')"
    )
    assert "torch" in modules
    assert not heavy(modules, (*HEAVY, *COMPILER, "scipy"))


def test_to_separate_a_file_takes_neither(tmp_path):
    (recording,) = (example() / "mix").glob("*.wav")
    modules = imported(command("separate", recording, "-o", tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    assert not heavy(modules, (*HEAVY, *COMPILER, "scipy.stats"))


def test_to_tell_what_a_model_is_takes_no_task():
    assert not heavy(imported(command("info")), HEAVY)
