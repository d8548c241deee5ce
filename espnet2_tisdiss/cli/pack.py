"""``tisdiss pack``: write a model as a folder to share, also on the Hugging Face hub."""

from pathlib import Path
from typing import Annotated

import typer

from espnet2_tisdiss.cli.common_options import DebugOption, ModelArgument
from espnet2_tisdiss.cli.model_loading import load_for_command

EXAMPLES = """
[bold]Examples[/bold]

tisdiss pack exp/enh_train packed --name me/my-separator

tisdiss upload packed me/my-separator
"""


def command(
    model_name: ModelArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder for the model.")],
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the model in its card, such as OWNER/MODEL.",
            show_default="the folder's name",
        ),
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Write a model as a folder that ESPnet and this package load.

    It holds weights, configuration, checksums, a model card, and meta.yaml, which names the files.
    """
    from espnet2_tisdiss.pretrained.finding import find_model
    from espnet2_tisdiss.pretrained.packing import pack_model

    load_for_command(model_name, "cpu", "float32", None)  # only a model that loads is packed
    pack_model(find_model(model_name), folder, name or folder.resolve().name)
    typer.echo(folder)
