"""``tisdiss demo``: a page in the browser to separate and listen."""

from typing import Annotated

import typer

from espnet2_tisdiss.cli.common_options import (
    DebugOption,
    DeviceOption,
    DtypeOption,
    ModelOption,
    ModelRateOption,
    ThreadsOption,
    check_numbers,
)
from espnet2_tisdiss.cli.console import messages
from espnet2_tisdiss.cli.model_loading import load_for_command, set_threads
from espnet2_tisdiss.evaluate.pictures import require_matplotlib
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL

EXAMPLES = """
[bold]Examples[/bold]

tisdiss demo

tisdiss demo -m exp/enh_train --port 8000 --most-seconds 120
"""
LEAST_SECONDS = 1.0


def command(
    model_name: ModelOption = DEFAULT_MODEL,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen at. Any but the default opens the page to other machines."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 chooses a free one.")] = 7860,
    most_seconds: Annotated[float, typer.Option(help="Longest recording.")] = 60.0,
    most_mb: Annotated[int, typer.Option(min=1, help="Largest upload in MB.")] = 50,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    model_rate: ModelRateOption = None,
    threads: ThreadsOption = None,
    debug: DebugOption = False,
) -> None:
    """Open a page on this machine to separate a recording, choose the depth, and listen.

    Drop, record or choose a mixture, change the depth, mute and solo the voices, compare two
    depths, and download the voices. The page needs Gradio (the extra demo) but no network. Uploads
    are deleted after ten minutes, or when the program ends.
    """
    check_numbers(LEAST_SECONDS, {"--most-seconds": most_seconds})
    require_matplotlib()
    from espnet2_tisdiss.pages.demo import is_loopback, require_gradio, serve

    require_gradio()  # before the model is loaded
    set_threads(threads)
    model = load_for_command(model_name, device, dtype, model_rate)
    if not is_loopback(host):
        messages.print(f"--host {host}: everyone who can reach this address can use the page.")
    serve(model, host, port, most_seconds, most_mb, lambda address: typer.echo(address))
