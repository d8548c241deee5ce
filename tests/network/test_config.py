import pytest

from espnet2_tisdiss import TISDiSSConfig, TISDiSSSeparator


def test_defaults_construct():
    assert TISDiSSConfig() == TISDiSSConfig(
        ffn_type=["swiglu_conv1d", "swiglu_conv1d"], ffn_hidden_dim=[384, 384]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"norm_type": "rmsgropnorm"},
            "norm_type must be one of rmsgroupnorm, layernorm; got 'rms",
        ),
        ({"tf_order": "time"}, "tf_order must be one of ft, tf"),
        (
            {"spk_spliter_type": "linear"},
            "spk_spliter_type must be one of swiglu_conv_deconv2d, conv2d",
        ),
        ({"ffn_type": "mlp"}, "ffn_type must be one of swiglu_conv1d, conv1d"),
        ({"ffn_type": ["conv1d"] * 3, "ffn_hidden_dim": [8] * 3}, "a list of two"),
        ({"ffn_hidden_dim": 384}, "ffn_hidden_dim must hold one width for each of the 2"),
        ({"ffn_hidden_dim": [384, 0]}, "ffn_hidden_dim must be an integer from 1 to 16384; got 0"),
        ({"num_spk": 0}, "num_spk must be an integer from 1 to 64; got 0"),
        ({"emb_dim": 128.0}, "emb_dim must be an integer from 1 to 4096; got 128.0"),
        ({"num_groups": 3}, "num_groups must divide emb_dim = 128; got 3"),
        ({"n_heads": 5}, "n_heads must divide attention_dim = 128; got 5"),
        ({"n_heads": 128}, "must be even, for the rotary pairs"),
        ({"conv1d_kernel": 4, "conv1d_shift": 5}, "conv1d_shift must be at most conv1d_kernel = 4"),
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 1\); got 1.0"),
        ({"eps": "small"}, "eps must be a number"),
        ({"mask": "yes"}, "mask must be true or false; got 'yes'"),
        ({"num_spk": 3, "split_compress": True}, "num_spk must divide emb_dim = 128; got 3"),
        (
            {"split_compress": True, "num_groups": 128},
            "num_groups must divide emb_dim / num_spk = 64",
        ),
        (
            {"reconstructor_repeat_times": -1},
            "reconstructor_repeat_times must be an integer from 0 to 1000",
        ),
        ({"encoder_repeat_times": 0}, "encoder_repeat_times must be an integer from 1 to 1000"),
        ({"band_split": [60, 4], "mask": True}, "band_split must add up to the spectrum's 65 bins"),
        ({"band_split": "mel"}, "mask must be true with band_split; got False"),
        ({"band_split": "bark"}, "band_split must be one of fixed, mel; got 'bark'"),
        (
            {"band_split": "mel", "num_bands": 65, "mask": True},
            "num_bands is too large for 65 bins at 8000 Hz",
        ),
        ({"band_scale": 0}, "band_scale must be a number"),
        ({"segment_size": 25}, "segment_size must be even; got 25"),
        (
            {"segment_size": 24, "band_split": "mel", "mask": True},
            "band_split must be null with segment_size",
        ),
        *(
            ({name: 100_000}, f"{name} must be an integer from . to .*; got 100000$")
            for name in ("num_spk", "encoder_n_layers", "reconstructor_n_layers", "emb_dim")
        ),
        ({"sample_rate": 10**12}, "sample_rate must be an integer from 1 to 768000; got 1000000"),
        ({"n_heads": 10**5000}, "n_heads must be .*; got <integer of 16610 bits>$"),
        (
            {"emb_dim": 4096, "attention_dim": 4096, "ffn_hidden_dim": [16384] * 2},
            "must make at most 2 billion weights; got .* billion$",
        ),
        ({"band_split": [65, 0]}, "band_split must be an integer >= 1; got 0"),
    ],
)
def test_wrong_value_names_argument_and_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=message):
        TISDiSSSeparator(65, **options)


def test_unknown_argument_lists_the_known_ones():
    with pytest.raises(
        TypeError, match="unknown argument 'emb_dims'; the arguments are num_spk, emb"
    ):
        TISDiSSSeparator(65, emb_dims=64)


def test_a_single_ffn_may_be_written_without_a_list():
    config = TISDiSSConfig(ffn_type="conv1d", ffn_hidden_dim=64)
    assert (config.ffn_type, config.ffn_hidden_dim) == (["conv1d"], [64])
