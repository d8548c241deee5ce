"""The layers whose outputs training puts a loss on (TISDiSS, section 2.3, "multi-loss").

A step is one application of a layer. With L layers and R repetitions, the steps are layers 1 to L,
repeated R times.
"""

from espnet2_tisdiss.network.config import TISDiSSConfig


def reconstructor_steps(config: TISDiSSConfig, n_re: int) -> list[bool]:
    """Return for each step of ``n_re`` repetitions whether its output is supervised."""
    return _steps(
        config.reconstructor_n_layers,
        n_re,
        config.reconstructor_multi_decoder,
        config.reconstructor_n_layers_multi_decoder,
    )


def split_steps(config: TISDiSSConfig, n_re: int) -> list[bool]:
    """Return for each step of the separator whether the split of its output is supervised."""
    if config.encoder_decoder:
        return _steps(
            config.encoder_n_layers,
            config.encoder_repeat_times,
            config.encoder_multi_decoder,
            config.encoder_n_layers_multi_decoder,
        )
    is_output = not reconstructor_steps(config, n_re)
    n_steps = config.encoder_n_layers * config.encoder_repeat_times
    return [False] * (n_steps - 1) + [config.spliter_loss or is_output]


def supervised_depths(config: TISDiSSConfig, n_re: int) -> int:
    """Return the number of estimates of each speaker that training puts a loss on."""
    return sum(split_steps(config, n_re)) + sum(reconstructor_steps(config, n_re))


def parts_that_run(config: TISDiSSConfig, n_re: int) -> dict[str, bool]:
    """Return the modules of the separator that some depths leave out, and whether they run."""
    has_streams = config.reconstructor_n_layers * n_re > 0
    parts = {"reconstructor_blocks": has_streams}
    compressed = config.compression > 1
    if config.repeat_residual_module:
        is_repeated = config.encoder_n_layers * config.encoder_repeat_times > 1
        in_streams = has_streams and config.reconstructor_residual and not compressed
        parts["concat_block"] = is_repeated or in_streams
    if config.reconstructor_residual and compressed:
        parts |= dict.fromkeys(("compress_conv", "reconstructor_concat_block"), has_streams)
    return parts


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
