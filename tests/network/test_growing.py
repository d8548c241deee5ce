import pytest
import soundfile as sf
import torch
from torch.nn.functional import pad

from espnet2_tisdiss import SeparateSpeech, TISDiSSSeparator
from espnet2_tisdiss.network.growing import grow
from espnet2_tisdiss.pretrained.bundled import MODELS

OPTIONS = dict(
    emb_dim=16,
    n_heads=2,
    attention_dim=16,
    ffn_hidden_dim=[12, 20],
    conv1d_shift=2,
    reconstructor_repeat_times=2,
    mask=True,
    band_split="mel",
    num_bands=12,
    eps=1e-12,  # it is added to a mean square, which falls with the width
)
WIDER = OPTIONS | dict(emb_dim=32, n_heads=3, attention_dim=24, ffn_hidden_dim=[30, 26])


def separator(n_bins=65, **options):
    """A separator whose every weight differs from its first value, as after a training."""
    separator = TISDiSSSeparator(n_bins, **options).double().eval()
    with torch.no_grad():
        for weight in separator.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return separator


def estimates(separator, spectrum, n_re):
    separator.reconstructor_repeat_times = n_re
    with torch.no_grad():
        return torch.stack(separator(spectrum, None)[0])


@pytest.mark.parametrize("splitter", ["conv2d", "swiglu_conv_deconv2d"])
def test_wider_separator_computes_the_same(splitter):
    torch.manual_seed(0)
    small = separator(**OPTIONS, spk_spliter_type=splitter)
    large = separator(**WIDER, spk_spliter_type=splitter)
    spectrum = torch.randn(2, 21, 65, dtype=torch.complex128)
    before = estimates(large, spectrum, 2)

    grow(small, large)

    for n_re in (0, 1, 3):
        expected = estimates(small, spectrum, n_re)
        assert torch.allclose(estimates(large, spectrum, n_re), expected, rtol=0, atol=1e-8)
    assert not torch.allclose(before, estimates(small, spectrum, 2), rtol=0, atol=0.1)


def test_every_new_weight_learns():
    torch.manual_seed(0)
    small, large = separator(**OPTIONS), separator(**WIDER)
    grow(small, large)
    start = {name: weight.clone() for name, weight in large.named_parameters()}
    optimizer = torch.optim.SGD(large.parameters(), lr=1e-5)
    spectrum = torch.randn(2, 21, 65, dtype=torch.complex128)
    # weights that read from silent channels learn once these are no longer silent
    for _ in range(3):
        optimizer.zero_grad()
        sum(estimate.abs().sum() for estimate in large.train()(spectrum, None)[0]).backward()
        optimizer.step()
    for name, weight in large.named_parameters():
        # all except the places of narrower bands without a bin
        moved = (weight != start[name]).double().mean()
        assert moved > (0.3 if name.startswith(("conv.", "reconstructor_deconv.")) else 0.99), name


def test_bands_move_to_a_higher_rate():
    """The package's 8-kHz model, grown to 16 kHz, separates speech below 4 kHz as before."""
    small = SeparateSpeech.from_pretrained("mini").separator
    options = vars(small.config) | dict(sample_rate=16000, num_bands=32)
    large = TISDiSSSeparator(257, **options).eval()
    samples, rate = sf.read(MODELS / "mini" / "example" / "mix" / "two_voices.wav")
    wave = torch.tensor(samples, dtype=torch.float32)[None]
    spectrum = torch.stft(wave, 256, 128, window=torch.hann_window(256), return_complex=True).mT
    assert rate == 8000

    grow(small, large)

    expected = estimates(small, spectrum, 2)
    found = estimates(large, pad(spectrum, (0, 128)), 2)[..., :129]
    error = (found - expected).abs().square().sum() / expected.abs().square().sum()
    assert 10 * error.log10() < -10
    even_share = (spectrum / 2 - expected).abs().square().sum() / expected.abs().square().sum()
    assert 10 * even_share.log10() > -4


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(num_groups=2), "num_groups must stay 4; got 2"),
        (dict(emb_dim=8), "emb_dim must be at least 16; got 8"),
        (dict(n_heads=4), "attention_dim / n_heads must stay 8; got 4"),
        (dict(speaker_path=False), "the separators must have the same parts; only one has"),
    ],
)
def test_what_cannot_hold_the_small_one_is_refused(options, message):
    small = TISDiSSSeparator(65, **OPTIONS)
    large = TISDiSSSeparator(65, **OPTIONS | options)
    with pytest.raises(ValueError, match=message):
        grow(small, large)
