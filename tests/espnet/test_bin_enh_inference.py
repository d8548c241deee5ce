"""The inference command at several depths writes the same files as ESPnet's at each depth."""

import logging

import numpy as np
import pytest
import soundfile
import yaml
from torch.nn.modules.module import register_module_forward_hook

from espnet2_tisdiss.audio.sources import as_file
from espnet2_tisdiss.bin.enh_inference import main
from espnet2_tisdiss.lists import read_sources
from espnet2_tisdiss.network.blocks.block import ReconstructorBlock

RATE = 8000
LENGTHS = {"a": 8000, "b": 4992, "c": 8064}  # a multiple of the hop, which is not padded


@pytest.fixture
def mixtures(tmp_path):
    """Write wav.scp with three mixtures of different lengths."""
    rng = np.random.default_rng(0)
    lines = []
    for key, length in LENGTHS.items():
        path = tmp_path / f"{key}.wav"
        soundfile.write(path, rng.uniform(-0.5, 0.5, length), RATE)
        lines.append(f"{key} {path}\n")
    (tmp_path / "wav.scp").write_text("".join(lines))
    return tmp_path / "wav.scp"


@pytest.fixture
def run_inference(espnet_model, mixtures, tmp_path):
    """Return a function that runs the command with a tiny model and gives its output folder."""
    _, config, weights = espnet_model()

    def run(*options, scp=mixtures):
        out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        command = ["--train_config", config, "--model_file", weights, "--output_dir", out]
        command += ["--data_path_and_name_and_type", f"{scp},speech_mix,sound"]
        main([str(word) for word in [*command, "--num_workers", 0, *options]])
        return out

    return run


def test_removes_an_offset_on_demand(run_inference, mixtures):
    clean = read(run_inference("--n_re", 1, "--remove_rumble", "true") / "re1")
    for line in mixtures.read_text().splitlines():
        path = line.split()[1]
        soundfile.write(path, soundfile.read(path)[0] * 0.5 + 0.25, RATE, "FLOAT")
    shifted = read(run_inference("--n_re", 1, "--remove_rumble", "true") / "re1")
    kept = read(run_inference("--n_re", 1) / "re1")
    for name, samples in clean.items():
        # half as loud, within the rounding of 16-bit files
        assert np.abs(2 * shifted[name] - samples).max() <= 4
        assert np.abs(2 * kept[name] - samples).max() > 100
    with pytest.raises(SystemExit):
        run_inference("--remove_rumble", "true")


def read(folder, suffix="wav"):
    """(speaker, key) -> samples (n,) as integers, by the lists of a folder; all must be PCM_16."""
    samples = {}
    for speaker in (1, 2):
        for line in (folder / f"spk{speaker}.scp").read_text().splitlines():
            key, path = line.split(maxsplit=1)
            assert path == str(folder / f"wavs/{speaker}/{key}.{suffix}")
            assert soundfile.info(path).subtype == "PCM_16"
            assert soundfile.info(path).samplerate == RATE
            samples[speaker, key] = soundfile.read(path, dtype="int16")[0].astype(int)
    return samples


def assert_same(found, expected):
    """Equal except for the last of 16 bits, which rounding may change."""
    assert found.keys() == expected.keys()
    for name, samples in expected.items():
        assert len(found[name]) == len(samples)
        assert np.abs(found[name] - samples).max() <= 1
        assert np.abs(samples).max() > 100


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--batch_size", 2],
        ["--dtype", "float64"],
        ["--inference_config", "stft.yaml"],
    ],
)
@pytest.mark.parametrize("normalize", ["true", "false"])
def test_each_depth_is_a_run_of_espnets_at_it(run_inference, tmp_path, options, normalize):
    changes = {}
    if "--inference_config" in options:
        # its own depth is replaced by those of --n_re
        changes = {"separator_conf": {"reconstructor_repeat_times": 5, "eps": 1e-3}}
        (tmp_path / "stft.yaml").write_text(yaml.safe_dump(changes))
        options = ["--inference_config", tmp_path / "stft.yaml"]
    options = [*options, "--normalize_output_wav", normalize]
    out = run_inference("--n_re", 3, 1, 3, *options)
    assert sorted(path.name for path in out.iterdir()) == ["re1", "re3"]
    for depth in (1, 3):
        conf = changes.get("separator_conf", {}) | {"reconstructor_repeat_times": depth}
        (tmp_path / "depth.yaml").write_text(yaml.safe_dump({"separator_conf": conf}))
        stock = [*options, "--inference_config", tmp_path / "depth.yaml", "--batch_size", 1]
        expected = read(run_inference(*stock))
        assert {key: len(samples) for (_, key), samples in expected.items()} == LENGTHS
        assert_same(read(out / f"re{depth}"), expected)


def test_the_blocks_run_once_for_all_depths(run_inference):
    runs = []
    hook = register_module_forward_hook(
        lambda module, *_: runs.append(module) if isinstance(module, ReconstructorBlock) else None
    )
    run_inference("--n_re", 1, 2, 3, 4)
    hook.remove()
    assert len(runs) == 4 * len(LENGTHS)


def test_every_mixture_is_told_and_keys_choose(run_inference, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "keys").write_text("a\nc\n")
    out = run_inference("--n_re", 2, "--batch_size", 2, "--key_file", tmp_path / "keys")
    assert {key for _, key in read(out / "re2")} == {"a", "c"}
    told = [record.message for record in caplog.records if "Enhancing" in record.message]
    assert told == ["Enhancing a", "Enhancing c"]


def test_other_formats_and_silence(run_inference, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(4000), RATE)
    (tmp_path / "silent.scp").write_text(f"silent {tmp_path / 'silent.wav'}\n")
    options = ("--output_format", "flac", "--normalize_output_wav", "true")
    out = run_inference("--n_re", 1, *options, scp=tmp_path / "silent.scp")
    for samples in read(out / "re1", "flac").values():
        assert len(samples) == 4000 and not samples.any()


def test_what_is_wrong_with_a_mixture_is_told_by_its_name(run_inference, tmp_path):
    soundfile.write(tmp_path / "bad.wav", np.full(4000, np.nan), RATE, "FLOAT")
    (tmp_path / "bad.scp").write_text(f"bad {tmp_path / 'bad.wav'}\n")
    with pytest.raises(SystemExit) as refused:
        run_inference("--n_re", 1, scp=tmp_path / "bad.scp")
    assert refused.value.code.startswith("enh_inference: bad: mixture 0 holds samples that are not")


def test_one_channel_is_chosen_of_several(run_inference, mixtures, tmp_path, capsys):
    lines = []
    for key, length in LENGTHS.items():
        mono, _ = soundfile.read(tmp_path / f"{key}.wav")
        other = np.random.default_rng(1).uniform(-0.5, 0.5, length)
        soundfile.write(tmp_path / f"{key}-stereo.wav", np.stack([other, mono], 1), RATE)
        lines.append(f"{key} {tmp_path / f'{key}-stereo.wav'}\n")
    (tmp_path / "stereo.scp").write_text("".join(lines))
    options = ("--n_re", 2, "--batch_size", 2)
    chosen = run_inference(*options, "--ref_channel", 1, scp=tmp_path / "stereo.scp")
    assert_same(read(chosen / "re2"), read(run_inference(*options) / "re2"))
    for channel in ([], ["--ref_channel", 2]):
        with pytest.raises(SystemExit) as refused:
            run_inference(*options, *channel, scp=tmp_path / "stereo.scp")
        assert refused.value.code == (
            "enh_inference: a: has 2 channels, but the model takes one: "
            "choose it with --ref_channel (0 to 1)"
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--n_re", 0], "--n_re must be an integer from 1 to 1000; got 0"),
        (["--n_re", 1, "--batch_size", 0], "--batch_size must be an integer >= 1; got 0"),
        (
            ["--n_re", 1, "--segment_size", 1.0, "--hop_size", 0.5],
            "--segment_size and --hop_size cannot be combined with --n_re",
        ),
        (["--n_re", 1, "--ngpu", 2], "--ngpu 2: a process uses one GPU at most; give 0 or 1"),
        (
            ["--n_re", 1, "--model_tag", "./none"],
            "give either a model (./none) or its train_config and model_file, not both",
        ),
    ],
)
def test_what_does_not_go_is_one_line(run_inference, options, message):
    with pytest.raises(SystemExit) as refused:
        run_inference(*options)
    assert refused.value.code == f"enh_inference: {message}"


def test_a_separator_without_depth_is_refused(espnet_model, mixtures, tmp_path):
    criterions = [{"name": "si_snr", "conf": {}, "wrapper": "pit", "wrapper_conf": {}}]
    conf = {"num_spk": 2, "layer": 1, "unit": 8}
    _, config, weights = espnet_model(separator="rnn", separator_conf=conf, criterions=criterions)
    command = ["--train_config", config, "--model_file", weights, "--output_dir", tmp_path / "out"]
    command += ["--data_path_and_name_and_type", f"{mixtures},speech_mix,sound", "--n_re", 1]
    with pytest.raises(SystemExit) as refused:
        main([str(word) for word in command])
    message = "enh_inference: the model's separator is RNNSeparator, not a TISDiSS"
    assert refused.value.code == message
    assert not (tmp_path / "out").exists()


def test_archives_hold_the_same_samples_and_are_read_as_lists(run_inference):
    options = ("--n_re", 1, 2, "--normalize_output_wav", "true")
    files = run_inference(*options)
    archives = run_inference(*options, "--output_format", "ark")
    for depth in ("re1", "re2"):
        expected, found = read(files / depth), {}
        assert not (archives / depth / "wavs").exists()
        for speaker in (1, 2):
            for key, source in read_sources(archives / depth / f"spk{speaker}.scp").items():
                assert source.archive[0] == archives / depth / f"spk{speaker}.ark"
                with as_file(source) as path:
                    samples, rate = soundfile.read(path, dtype="int16")
                assert rate == RATE
                found[speaker, key] = samples.astype(int)
        assert found.keys() == expected.keys() and len(found) == 2 * len(LENGTHS)
        assert all(np.array_equal(found[name], expected[name]) for name in found)
