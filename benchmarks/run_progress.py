"""Progress counted in runs, drawn as on the command line."""

from espnet2_tisdiss.cli.console import WorkProgress


class RunProgress(WorkProgress):
    """Progress in runs."""

    UNIT = "runs"
