"""``tisdiss upload``: upload a packed model to the Hugging Face hub."""

from pathlib import Path
from typing import Annotated

import typer

from espnet2_tisdiss.cli.common_options import DebugOption

EXAMPLES = """
[bold]Examples[/bold]

tisdiss upload packed me/my-separator --private
"""


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of `tisdiss pack`.")],
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/MODEL", help="Repository; created if there is none.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Upload a packed model to the Hugging Face hub.

    The access token is the one that `hf auth login` stores.
    """
    from espnet2_tisdiss.pretrained.packing import upload_model

    typer.echo(upload_model(folder, repository, private))
