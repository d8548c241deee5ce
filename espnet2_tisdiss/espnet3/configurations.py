"""The entries of ESPnet3's configurations that depend on the depths and number of speakers."""

from typing import Any

from omegaconf import DictConfig

from espnet2_tisdiss.espnet3.dataset import signal_names
from espnet2_tisdiss.espnet3.inference import output_name

WRITER = {"writer": {"_target_": "espnet2_tisdiss.espnet3.inference.write_wav"}}


def add_outputs(inference: DictConfig) -> None:
    """Declare the estimates of all depths, and how they are written."""
    labels = _outputs(inference)
    inference.contract.outputs = {
        name: {"kind": "audio", "label": label} for name, label in labels.items()
    }
    inference.output_artifacts = dict.fromkeys(labels, WRITER)


def add_inputs(metrics: DictConfig, inference: DictConfig) -> None:
    """Connect the metrics to the signals of the data and the estimates of all depths."""
    signals = signal_names(inference.num_spk)
    metrics.dataset_artifacts = dict.fromkeys(signals, WRITER)
    inputs: dict[str, Any] = {name: f"dataset:{name}" for name in signals}
    inputs |= {name: name for name in _outputs(inference)}
    for entry in metrics.metrics:
        entry.metric.n_re = inference.n_re
        entry.metric.num_spk = inference.num_spk
        entry.inputs = inputs


def _outputs(inference: DictConfig) -> dict[str, str]:
    """Return the labels of all estimates by their names."""
    return {
        output_name(n_re, speaker): f"N_re {n_re}, speaker {speaker}"
        for n_re in inference.n_re
        for speaker in range(1, inference.num_spk + 1)
    }
