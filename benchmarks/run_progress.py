"""Progress in runs, drawn as the command line draws it."""

from espnet2_tisdiss.cli.console import WorkProgress


class RunProgress(WorkProgress):
    """Progress in runs."""

    UNIT = "runs"
