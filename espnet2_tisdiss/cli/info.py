"""``tisdiss info``: describe a model."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from espnet2_tisdiss.cli.common_options import DebugOption, JsonOption, ModelArgument
from espnet2_tisdiss.cli.console import print_facts, print_json
from espnet2_tisdiss.cli.model_loading import load_for_command
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL

if TYPE_CHECKING:  # importing PyTorch takes seconds
    from espnet2_tisdiss.network.config import TISDiSSConfig
    from espnet2_tisdiss.separate.speech import SeparateSpeech


EXAMPLES = """
[bold]Examples[/bold]

tisdiss info

tisdiss info exp/enh_train

tisdiss info model.zip --json
"""


def command(
    model_name: ModelArgument = DEFAULT_MODEL,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Describe a model: structure, sizes, sample rate, depths, cost, options."""
    model = load_for_command(model_name, "cpu", "float32", None)
    found = {**_files(model_name), **_structure(model), **_cost(model)}
    if as_json:
        print_json(found)
    else:
        _print(found)


def _files(name: str) -> dict[str, Any]:
    """Return the files of a model."""
    from espnet2_tisdiss.pretrained.finding import find_model

    files = find_model(name)
    return {
        "model": name,
        "config_file": files["train_config"],
        "model_file": files["model_file"],
        "model_file_bytes": Path(files["model_file"]).stat().st_size,
    }


def _structure(model: "SeparateSpeech") -> dict[str, Any]:
    """Return the structure of a model, and the options of its training."""
    from espnet2_tisdiss.evaluate.cost import parameters
    from espnet2_tisdiss.network.config import TISDiSSConfig
    from espnet2_tisdiss.pretrained.layouts import is_joint

    config, encoder = model.separator.config, model.enh_model.encoder
    args = vars(model.enh_train_args)
    prefix = "enh_" if is_joint(args) else ""
    options, defaults = dataclasses.asdict(config), dataclasses.asdict(TISDiSSConfig())
    has_rate = "sample_rate" in args[f"{prefix}separator_conf"]
    sizes = ("n_fft", "hop_length", "kernel_size", "stride")
    return {
        "structure": config.structure,
        "num_spk": config.num_spk,
        "parameters": parameters(model.enh_model),
        "separator_parameters": parameters(model.separator),
        "sample_rate": model.sample_rate,
        "sample_rate_from": "configuration" if has_rate else "default",
        "encoder": {
            "name": args[f"{prefix}encoder"],
            **{size: getattr(encoder, size) for size in sizes if hasattr(encoder, size)},
            "output_dim": encoder.output_dim,
        },
        "decoder": {"name": args[f"{prefix}decoder"], **args[f"{prefix}decoder_conf"]},
        "front_end": _front_end(model),
        "mask": config.mask,
        "causal": config.causal,
        "look_ahead_frames": 0 if config.causal else None,
        "look_ahead_samples": model.look_ahead,
        "trained_n_re": config.reconstructor_repeat_times,
        "supervised_n_re": _supervised(config),
        "espnet": args.get("version"),
        "changed_options": {
            name: value for name, value in options.items() if value != defaults[name]
        },
    }


def _front_end(model: "SeparateSpeech") -> str:
    """Describe the positions on the frequency axis of the feature map."""
    from espnet2_tisdiss.network.blocks.bands import BandEmbed

    config, n_bins = model.separator.config, model.separator.input_dim
    if config.segment_size is not None:
        return f"segments of {config.segment_size} frames of {n_bins} learned features"
    embed = model.separator.conv
    if not isinstance(embed, BandEmbed):
        return f"every bin, {n_bins}"
    kind = config.band_split if isinstance(config.band_split, str) else "chosen"
    return f"{embed.layout.n_bands} {kind} bands of {n_bins} bins"


def _supervised(config: "TISDiSSConfig") -> list[int]:
    """Return the depths that have a training loss; 0 is the output of the splitter."""
    last = config.reconstructor_repeat_times if config.reconstructor_n_layers else 0
    first = 1 if config.reconstructor_multi_decoder else max(last, 1)
    is_split = config.encoder_decoder or config.spliter_loss or last == 0
    return [0] * is_split + list(range(first, last + 1))


def _cost(model: "SeparateSpeech") -> dict[str, Any]:
    """Return the cost at the training depth."""
    from espnet2_tisdiss.evaluate.cost import COUNTED_SECONDS, CostCounter

    counter = CostCounter(model.enh_model.encoder, model.separator, model.sample_rate)
    n_re = model.separator.config.reconstructor_repeat_times
    return {"macs_per_s": counter.macs_per_s(n_re), "cost_seconds": COUNTED_SECONDS}


def _print(found: Mapping[str, Any]) -> None:
    """Print the facts as text, one per line."""
    n_re = found["trained_n_re"]
    depths = ", ".join("0 (splitter)" if n == 0 else str(n) for n in found["supervised_n_re"])
    print_facts(
        {
            "model": found["model"],
            "configuration": found["config_file"],
            "weights": f"{found['model_file']}, {found['model_file_bytes'] / 1e6:.1f} MB",
            "structure": found["structure"],
            "parameters": f"{found['parameters'] / 1e6:.2f} M, of which "
            f"{found['separator_parameters'] / 1e6:.2f} M in the separator",
            "speakers": str(found["num_spk"]),
            "sample rate": f"{found['sample_rate']} Hz, {_RATE_FROM[found['sample_rate_from']]}",
            "encoder": _coder(found["encoder"]),
            "decoder": _coder(found["decoder"]),
            "front end": f"{found['front_end']}; estimates "
            + ("masks" if found["mask"] else "spectra or features directly"),
            "look-ahead": _look_ahead(found),
            "trained N_re": str(n_re),
            "supervised at": f"N_re {depths}",
            "cost": f"{found['macs_per_s'] / 1e9:.2f} GMAC per second of audio, at N_re {n_re}",
            "ESPnet": found["espnet"] or "version not in the configuration",
        }
    )
    if changed := found["changed_options"]:
        typer.echo("options that differ from the defaults")
        print_facts({f"  {name}": str(value) for name, value in changed.items()})


_RATE_FROM = {
    "configuration": "from the configuration",
    "default": "the default, as the configuration sets none (to change it: separate --model-rate)",
}


def _look_ahead(found: Mapping[str, Any]) -> str:
    """Describe how far ahead in the mixture an estimate depends on it."""
    samples = found["look_ahead_samples"]
    if samples is None:
        return "all frames"
    seconds = samples / found["sample_rate"]
    return f"no frames; {1000 * seconds:g} ms, the window of a frame"


def _coder(coder: Mapping[str, Any]) -> str:
    """Describe an encoder or a decoder in one line."""
    sizes = (f"{name} {value}" for name, value in coder.items() if name != "name")
    return ", ".join([coder["name"], *sizes])
