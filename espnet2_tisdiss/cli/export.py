"""``tisdiss export``: write a model as ONNX graphs."""

from pathlib import Path
from typing import Annotated

import typer

from espnet2_tisdiss.choices import Precision
from espnet2_tisdiss.cli.common_options import DebugOption, ModelArgument, ModelRateOption
from espnet2_tisdiss.cli.console import messages
from espnet2_tisdiss.cli.model_loading import load_for_command

EXAMPLES = """
[bold]Examples[/bold]

tisdiss export voices exported

tisdiss separate -m exported talk.wav --n-re 4
"""


def command(
    model_name: ModelArgument,
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the graphs.")],
    precision: Annotated[
        Precision,
        typer.Option(
            help="float16 stores the weights in half the space and computes in float32; "
            "int8 computes matrix products in 8-bit integers."
        ),
    ] = "float32",
    model_rate: ModelRateOption = None,
    debug: DebugOption = False,
) -> None:
    """Write a model as ONNX graphs, which run without PyTorch and ESPnet.

    Give the folder as the model to tisdiss separate and tisdiss live, which then need only ONNX
    Runtime. You still choose the depth for each run.
    """
    from espnet2_tisdiss.onnx.export import export_model

    model = load_for_command(model_name, "cpu", "float32", model_rate)
    with messages.status(f"exporting {model_name}"):
        export_model(model, folder, precision)
    typer.echo(folder)
