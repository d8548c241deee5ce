"""The separator inside ESPnet's own classes, as users use it."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
import yaml
from espnet2.bin.enh_inference import SeparateSpeech
from models import LEARNED_ENCODER, TINY, Golden


def separate(separator: SeparateSpeech, wave: np.ndarray) -> np.ndarray:
    """Separate ``wave`` (b, n) to (j, b, n)."""
    return np.stack(separator(wave, fs=8000))


@pytest.fixture
def wave() -> np.ndarray:
    return np.random.randn(1, 12000).astype(np.float32) * 0.1


def test_saved_and_reloaded_model_gives_the_same(espnet_model, wave):
    model, config, weights = espnet_model()
    output = separate(SeparateSpeech(config, weights), wave)
    x = torch.from_numpy(wave)
    scale = x.std(1, keepdim=True)
    with torch.no_grad():
        expected = model.eval().forward_enhance(x / scale, torch.tensor([12000]), {})[0]
    assert output.shape == (2, 1, 12000)
    np.testing.assert_allclose(output, torch.stack(expected).numpy() * scale.item(), atol=1e-6)


def test_inference_config_changes_the_depth(espnet_model, wave, tmp_path):
    _, config, weights = espnet_model()
    override = tmp_path / "depth.yaml"
    outputs = {}
    for n_re in (1, 2, 4):
        override.write_text(
            yaml.safe_dump({"separator_conf": {"reconstructor_repeat_times": n_re}})
        )
        separator = SeparateSpeech(config, weights, inference_config=override)
        outputs[n_re] = separate(separator, wave)
        # the same from one built model, by setting the depth
        default = SeparateSpeech(config, weights)
        default.enh_model.separator.reconstructor_repeat_times = n_re
        np.testing.assert_array_equal(separate(default, wave), outputs[n_re])
    assert np.abs(outputs[1] - outputs[2]).max() > 1e-4
    assert np.abs(outputs[2] - outputs[4]).max() > 1e-4


def test_segment_wise(espnet_model):
    _, config, weights = espnet_model()
    wave = np.random.randn(1, 20001).astype(np.float32)
    separator = SeparateSpeech(config, weights, segment_size=1.0, hop_size=0.5)
    output = separate(separator, wave)
    assert output.shape == (2, 1, 20001)
    assert np.isfinite(output).all()
    # the first half second comes only from the first segment
    first = separate(SeparateSpeech(config, weights), wave[:, :8000])
    np.testing.assert_allclose(output[:, :, :3900], first[:, :, :3900], rtol=0.3, atol=0.1)


@pytest.mark.parametrize("length", [65, 100, 127, 128, 129, 8001, 16_000])
def test_odd_and_tiny_lengths(espnet_model, length):
    # 65 samples: shorter than one window of 128, and the least that ESPnet's STFT can pad
    _, config, weights = espnet_model()
    output = separate(SeparateSpeech(config, weights), np.random.randn(2, length))
    assert output.shape == (2, 2, length)
    assert np.isfinite(output).all()


def test_batch_of_two_equals_one_by_one(espnet_model):
    _, config, weights = espnet_model()
    separator = SeparateSpeech(config, weights)
    wave = np.random.randn(2, 4000)
    single = np.concatenate([separate(separator, item[None]) for item in wave], axis=1)
    np.testing.assert_allclose(separate(separator, wave), single, atol=1e-5)


def test_silence_is_separated_as_silence(espnet_model):
    _, config, weights = espnet_model()
    output = separate(SeparateSpeech(config, weights), np.zeros((1, 4000)))
    assert (output == 0).all()


def test_nan_samples_are_not_hidden(espnet_model, wave):
    _, config, weights = espnet_model()
    wave[0, 500] = np.nan
    assert np.isnan(separate(SeparateSpeech(config, weights), wave)).all()


def losses(model, n_samples=4000):
    x = torch.randn(2, 2, n_samples)
    references = {"speech_ref1": x[:, 0], "speech_ref2": x[:, 1]}
    return model(x.sum(1), torch.tensor([n_samples, n_samples - 1000]), **references)


@pytest.mark.parametrize(
    "criterion",
    [
        {"name": "si_snr"},
        {"name": "snr"},
        {"name": "ci_sdr"},
        {"name": "l1_td"},
        {"name": "mr_l1_tfd", "conf": {"window_sz": [128], "hop_sz": [64]}},
        {"name": "l1_fd"},
        {"name": "mse_fd"},
        {"name": "mse_fd", "conf": {"compute_on_mask": True, "mask_type": "PSM"}},
    ],
)
def test_training_step_with_espnets_criterions(espnet_model, criterion):
    criterion = {"conf": {}, "wrapper": "multi_depth_pit", "wrapper_conf": {}, **criterion}
    model, _, _ = espnet_model(criterions=[criterion])
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss, stats, weight = losses(model.train())
    loss.backward()
    optimizer.step()
    assert loss.isfinite() and weight == 2
    depths = [key for key in stats if "_depth-" in key]
    assert len(depths) == TINY["reconstructor_repeat_times"] + 1
    torch.testing.assert_close(torch.cat([stats[k] for k in depths]).mean(), loss[0])
    changed = [n for n, value in model.named_parameters() if not torch.equal(before[n], value)]
    assert len(changed) == len(list(model.parameters()))
    # in evaluation: the last depth, reported under the criterion's own name
    _, stats, _ = losses(model.eval())
    assert not any("_depth-" in key for key in stats)


def test_two_losses_and_depth_weights_from_yaml(espnet_model):
    def criterion(name, **conf):
        return {"name": name, "conf": {}, "wrapper": "multi_depth_pit", "wrapper_conf": conf}

    model, _, _ = espnet_model(
        criterions=[
            criterion("si_snr", depth_weights=[0, 1, 1]),
            criterion("l1_fd", weight=0.5, independent_perm=False),
        ]
    )
    loss, stats, _ = losses(model.train())
    si_snr = (stats["si_snr_loss_depth-1"] + stats["si_snr_loss_depth-2"]) / 2
    torch.testing.assert_close(stats["si_snr_loss"], si_snr)
    torch.testing.assert_close(loss, si_snr + 0.5 * stats["L1_on_Spec"])


PUBLISHED_CRITERION = {
    "name": "si_snr",
    "conf": {"eps": 1.0e-7},
    "wrapper": "pit",
    "wrapper_conf": {"weight": 1.0, "independent_perm": True},
}


def published_checkpoint(espnet_model, golden):
    """A config.yaml and weights as in the authors' release, with a golden file's numbers."""
    stft = {"n_fft": 2 * (golden.input_dim - 1), "hop_length": golden.input_dim - 1}
    _, config, weights = espnet_model(
        encoder_conf=stft,
        decoder_conf=stft,
        separator_conf=golden.config,
        criterions=[PUBLISHED_CRITERION],
    )
    torch.save({f"separator.{k}": v for k, v in golden.state_dict.items()}, weights)
    return config, weights


def test_released_checkpoint_loads_as_it_is(espnet_model, golden):
    config, weights = published_checkpoint(espnet_model, golden)
    separator = SeparateSpeech(train_config=config, model_file=weights).enh_model.separator
    for name, value in separator.state_dict().items():
        assert torch.equal(value, golden.state_dict[name]), name
    for n_re in golden.repeat_times:
        separator.reconstructor_repeat_times = n_re
        with torch.no_grad():
            output = torch.stack(separator(golden["input"], None)[0], dim=1)
        expected = golden[f"out_re{n_re}"]
        assert (output - expected).abs().max() < 1e-4 * expected.abs().max()


def test_own_inference_command_runs_a_released_checkpoint(espnet_model, wave, tmp_path):
    config, weights = published_checkpoint(espnet_model, Golden("published_structure"))
    soundfile.write(tmp_path / "mixture.wav", wave[0], 8000)
    (tmp_path / "wav.scp").write_text(f"one {tmp_path}/mixture.wav\n")
    command = [sys.executable, "-m", "espnet2_tisdiss.bin.enh_inference"]
    command += ["--train_config", config, "--model_file", weights, "--output_dir", tmp_path / "out"]
    command += ["--data_path_and_name_and_type", f"{tmp_path}/wav.scp,speech_mix,sound"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = separate(
        SeparateSpeech(config, weights), soundfile.read(tmp_path / "mixture.wav")[0][None]
    )
    for speaker in (1, 2):
        written, rate = soundfile.read(tmp_path / f"out/wavs/{speaker}/one.wav")
        assert rate == 8000
        clipped = expected[speaker - 1, 0].clip(-1, 1)
        np.testing.assert_allclose(written, clipped, atol=2 / 32768)


def test_weights_of_other_names_are_refused_by_name(espnet_model):
    _, config, weights = espnet_model()
    state_dict = torch.load(weights, weights_only=True)
    state_dict["separator.conv.0.wait"] = state_dict.pop("separator.conv.0.weight")
    del state_dict["separator.spk_spliter.conv2d.bias"]
    torch.save(state_dict, weights)
    with pytest.raises(RuntimeError) as error:
        SeparateSpeech(config, weights)
    assert str(error.value).endswith(
        "missing: separator.conv.0.weight, separator.spk_spliter.conv2d.bias; "
        "left over: separator.conv.0.wait"
    )


def test_weights_of_another_width_are_refused(espnet_model):
    _, config, _ = espnet_model()
    _, _, weights = espnet_model(separator_conf={**TINY, "ffn_hidden_dim": [6, 12]})
    written = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**written, "separator_conf": TINY}))
    with pytest.raises(
        RuntimeError, match="size mismatch for separator.encoder_blocks.0.freq_path"
    ):
        SeparateSpeech(config, weights)


def test_weights_that_hold_code_are_refused(espnet_model):
    _, config, weights = espnet_model()
    torch.save({"separator.conv.0.weight": print}, weights)
    with pytest.raises(Exception, match="[Ww]eights[_ ]only|[Uu]nsafe|refused"):
        SeparateSpeech(config, weights)


def test_learned_encoder_trains_and_separates(espnet_model, wave):
    model, config, weights = espnet_model(**LEARNED_ENCODER)
    loss, _, _ = losses(model.train())
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert separate(SeparateSpeech(config, weights), wave).shape == (2, 1, 12000)


def test_mixed_precision_trains_as_single_precision_does(espnet_model):
    # as ESPnet's use_amp does on a GPU: the forward pass under autocast, weights in float32
    x = 1e-3 * torch.randn(2, 2, 4000)  # quiet: half precision must not round it away
    batch = {"speech_ref1": x[:, 0], "speech_ref2": x[:, 1]}
    found = {}
    for enabled in (False, True):
        torch.manual_seed(0)
        model, _, _ = espnet_model()
        optimizer = torch.optim.AdamW(model.train().parameters(), 3e-3)
        found[enabled] = []
        for _ in range(20):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss = model(x.sum(1), torch.tensor([4000, 4000]), **batch)[0]
            optimizer.zero_grad()
            loss.backward()
            assert all(p.grad.dtype == torch.float32 for p in model.parameters())
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0, error_if_nonfinite=True)
            optimizer.step()
            found[enabled].append(loss.item())
    single, mixed = found[False], found[True]
    assert mixed != single
    assert single[-1] < single[0] - 10  # dB
    assert abs(mixed[-1] - single[-1]) < 1


def test_espnets_assertion_on_a_loss_of_one_depth_follows_an_explanation(espnet_model, caplog):
    # in a program of ESPnet, which does not build the model through this package's task
    caplog.set_level("INFO")
    wrapper = {"name": "si_snr", "conf": {}, "wrapper": "pit", "wrapper_conf": {}}
    model, _, _ = espnet_model(criterions=[wrapper])
    for _ in range(2):
        with pytest.raises(AssertionError, match=r"^\(2, 6\)$"):
            losses(model.train())
    found = [text for text in caplog.messages if "multi_depth_pit" in text]
    assert len(found) == 1 and "returns 6 estimates in training, of 3 depths" in found[0]
