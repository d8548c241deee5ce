"""``tisdiss info``: what a model is."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from espnet2_tisdiss.bundled import DEFAULT_MODEL
from espnet2_tisdiss.cli.calibrate import predictions
from espnet2_tisdiss.cli.console import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelArgument,
    ThreadsOption,
    load_model,
    machine,
    print_facts,
    print_json,
    set_threads,
)

if TYPE_CHECKING:  # these bring PyTorch, which takes seconds
    from espnet2_tisdiss.config import TISDiSSConfig
    from espnet2_tisdiss.inference import SeparateSpeech


EXAMPLES = """
[bold]Examples[/bold]

tisdiss info

tisdiss info exp/enh_train

tisdiss info model.zip --json
"""


def command(
    model: ModelArgument = DEFAULT_MODEL,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a model is: structure, sizes, sample rate, depths, cost, options.

    Device, dtype and threads are those of the calibration that is told.
    """
    set_threads(threads)
    separator = load_model(model, device, dtype, None)
    found = {
        **_files(model),
        **_structure(separator),
        **_cost(separator),
        **_calibration(separator),
    }
    if as_json:
        print_json(found)
    else:
        _print(found)


def _files(model: str) -> dict[str, Any]:
    """Return where the model is."""
    from espnet2_tisdiss.pretrained import find_model

    files = find_model(model)
    return {
        "model": model,
        "config_file": files["train_config"],
        "model_file": files["model_file"],
        "model_file_bytes": Path(files["model_file"]).stat().st_size,
    }


def _structure(separator: "SeparateSpeech") -> dict[str, Any]:
    """Return what the model is made of, and how it was trained."""
    from espnet2_tisdiss.config import TISDiSSConfig
    from espnet2_tisdiss.cost import parameters

    model, args, config = separator.enh_model, separator.enh_train_args, separator.separator.config
    options, defaults = dataclasses.asdict(config), dataclasses.asdict(TISDiSSConfig())
    named = "sample_rate" in args.separator_conf
    sizes = ("n_fft", "hop_length", "kernel_size", "stride")
    return {
        "structure": separator.separator.config.structure,
        "num_spk": config.num_spk,
        "parameters": parameters(model),
        "separator_parameters": parameters(separator.separator),
        "sample_rate": separator.sample_rate,
        "sample_rate_from": "configuration" if named else "default",
        "encoder": {
            "name": args.encoder,
            **{
                size: getattr(model.encoder, size) for size in sizes if hasattr(model.encoder, size)
            },
            "output_dim": model.encoder.output_dim,
        },
        "decoder": {"name": args.decoder, **args.decoder_conf},
        "front_end": _front_end(separator),
        "mask": config.mask,
        "trained_n_re": config.reconstructor_repeat_times,
        "supervised_n_re": _supervised(config),
        "espnet": getattr(args, "version", None),
        "changed_options": {
            name: value for name, value in options.items() if value != defaults[name]
        },
    }


def _front_end(separator: "SeparateSpeech") -> str:
    """Say what the positions on the frequency axis are."""
    config, n_bins = separator.separator.config, separator.separator.input_dim
    if config.segment_size is not None:
        return f"segments of {config.segment_size} frames of {n_bins} learned features"
    if config.band_split is None:
        return f"every bin, {n_bins}"
    kind = config.band_split if isinstance(config.band_split, str) else "chosen"
    return f"{separator.separator.conv.layout.n_bands} {kind} bands of {n_bins} bins"


def _supervised(config: "TISDiSSConfig") -> list[int]:
    """Return the depths that the training supervises; 0 is the splitter's output."""
    last = config.reconstructor_repeat_times if config.reconstructor_n_layers else 0
    first = 1 if config.reconstructor_multi_decoder else max(last, 1)
    is_split = config.encoder_decoder or config.spliter_loss or last == 0
    return [0] * is_split + list(range(first, last + 1))


def _cost(separator: "SeparateSpeech") -> dict[str, Any]:
    """Return the cost at the depth of the training."""
    from espnet2_tisdiss.cost import COUNTED_SECONDS, CostCounter

    model = separator.enh_model
    counter = CostCounter(model.encoder, model.separator, separator.sample_rate)
    n_re = model.separator.config.reconstructor_repeat_times
    return {"macs_per_s": counter.macs_per_s(n_re), "cost_seconds": COUNTED_SECONDS}


def _calibration(separator: "SeparateSpeech") -> dict[str, Any]:
    """Return the calibration that is kept for this machine as it is now, or None."""
    from espnet2_tisdiss.budget import CalibrationStore, Conditions

    conditions = Conditions.of(separator)
    kept = CalibrationStore().get(conditions)
    if kept is None:
        return {"conditions": dataclasses.asdict(conditions), "calibration": None}
    fields = dataclasses.asdict(kept)
    return {
        "conditions": fields.pop("conditions"),
        "calibration": {**fields, **predictions(kept, separator)},
    }


def _print(found: Mapping[str, Any]) -> None:
    """Print the facts for people, one a line."""
    n_re = found["trained_n_re"]
    depths = ", ".join("0 (splitter)" if n == 0 else str(n) for n in found["supervised_n_re"])
    print_facts(
        {
            "model": found["model"],
            "configuration": found["config_file"],
            "weights": f"{found['model_file']}, {found['model_file_bytes'] / 1e6:.1f} MB",
            "structure": found["structure"],
            "parameters": f"{found['parameters'] / 1e6:.2f} M, of which "
            f"{found['separator_parameters'] / 1e6:.2f} M the separator's",
            "speakers": str(found["num_spk"]),
            "sample rate": f"{found['sample_rate']} Hz, {_RATE_FROM[found['sample_rate_from']]}",
            "encoder": _coder(found["encoder"]),
            "decoder": _coder(found["decoder"]),
            "front end": f"{found['front_end']}; estimates "
            + ("masks" if found["mask"] else "spectra or features themselves"),
            "trained N_re": str(n_re),
            "supervised at": f"N_re {depths}",
            "cost": f"{found['macs_per_s'] / 1e9:.2f} GMAC for a second of audio, at N_re {n_re}",
            "ESPnet": found["espnet"] or "version not told by the configuration",
            "calibration": _kept(found),
        }
    )
    if changed := found["changed_options"]:
        typer.echo("options other than the defaults")
        print_facts({f"  {name}": str(value) for name, value in changed.items()})


_RATE_FROM = {
    "configuration": "as the configuration says",
    "default": "the default: the configuration names none (to set it: separate --model-rate)",
}


def _coder(coder: Mapping[str, Any]) -> str:
    """Return an encoder or a decoder on one line."""
    sizes = (f"{name} {value}" for name, value in coder.items() if name != "name")
    return ", ".join([coder["name"], *sizes])


def _kept(found: Mapping[str, Any]) -> str:
    """Return the calibration on one line."""
    kept, here = found["calibration"], machine(found["conditions"])
    if kept is None:
        return f"none kept for {here}; to measure: tisdiss calibrate {found['model']}"
    rtfs = ", ".join(f"{rtf:.2g} at N_re {n_re}" for n_re, rtf in kept["rtf"].items())
    return f"RTF {rtfs}, on {here}"
