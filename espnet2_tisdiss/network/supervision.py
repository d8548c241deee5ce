"""The layers whose outputs training puts a loss on (TISDiSS, section 2.3, "multi-loss").

A step is one application of a layer. With L layers and R repetitions, the steps are layers 1 to L,
repeated R times.
"""

from espnet2_tisdiss.network.config import TISDiSSConfig


def separator_steps(config: TISDiSSConfig) -> list[bool]:
    """Return for each step of the separator whether its output may be supervised."""
    return _steps(
        config.encoder_n_layers,
        config.encoder_repeat_times,
        config.encoder_multi_decoder,
        config.encoder_n_layers_multi_decoder,
    )


def reconstructor_steps(config: TISDiSSConfig, n_re: int) -> list[bool]:
    """Return for each step of ``n_re`` repetitions whether its output is supervised."""
    return _steps(
        config.reconstructor_n_layers,
        n_re,
        config.reconstructor_multi_decoder,
        config.reconstructor_n_layers_multi_decoder,
    )


def supervised_depths(config: TISDiSSConfig, n_re: int) -> int:
    """Return for how many estimates of each speaker training has a loss."""
    steps = reconstructor_steps(config, n_re)
    if config.encoder_decoder:
        splits = sum(separator_steps(config))
    else:
        splits = int(config.spliter_loss or not steps)
    return splits + sum(steps)


def _steps(n_layers: int, repeat_times: int, every_repeat: bool, every_layer: bool) -> list[bool]:
    """Return for each step, in order, whether its output is supervised.

    The end of the last repetition is supervised, and with ``every_repeat`` the end of each; with
    ``every_layer`` also the other layers of these repetitions.
    """
    return [
        (every_repeat or repeat == repeat_times - 1) and (every_layer or layer == n_layers - 1)
        for repeat in range(repeat_times)
        for layer in range(n_layers)
    ]
