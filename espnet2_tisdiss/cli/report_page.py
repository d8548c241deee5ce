"""``tisdiss report``: write one HTML file about an experiment, a sweep or separated files."""

from pathlib import Path
from typing import Annotated

import typer

from espnet2_tisdiss.atomic import check_place, write_atomically
from espnet2_tisdiss.cli.common_options import DebugOption, JsonOption
from espnet2_tisdiss.cli.console import messages, print_json, require_folder
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.pictures import require_matplotlib

FILE = "report.html"
EXAMPLES = """
[bold]Examples[/bold]

tisdiss report exp/enh_train --data dump/raw/test

tisdiss report separated/

tisdiss report sweep/voices_test -o voices.html
"""


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder of an experiment (RESULTS.csv), a sweep (mixtures.csv) or separated "
            "files (talk_spk1.wav).",
        ),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Data directory of a test set (wav.scp), to play its mixtures; repeat it for "
            "further sets.",
            show_default="without mixtures",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write.", show_default=f"DIR/{FILE}"),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write one HTML file with tables by depth, histograms, the worst mixtures and the curves.

    All pictures and sounds are inside the file: you can move it or send it, and it opens without a
    network. The ten worst mixtures have players and spectrograms. Separated files have no scores;
    they are sorted by how similar their speakers are.
    """
    require_matplotlib()
    out = folder / FILE if out is None else out
    check_place(out)  # checked before seconds of work
    if out.is_dir():
        raise TisdissError(f"{out}: is a folder; give the file to write, such as {out / FILE}")
    from espnet2_tisdiss.pages.report import make_report

    content = make_report(folder, data or [])
    require_folder(out.parent)
    write_atomically(out, content)
    if as_json:
        print_json({"report": out})
    else:
        messages.print(f"written: {out}", markup=False, highlight=False)
