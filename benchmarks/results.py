"""Results of the benchmarks: tables, the machine, and sections of a page.

A section is the text between the lines ``<!-- name -->`` and ``<!-- /name -->``; the rest of the
page is written by hand.
"""

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.tables import (
    markdown_table as table,  # noqa: F401  (re-exported for the benchmarks)
)

INSTRUCTION_SETS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "bf16", "sve")


def number(value: float) -> str:
    """Format a number with three significant digits and no exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def machine(device: torch.device) -> str:
    """Return one line that describes the machine, the software and the date."""
    found = torch.cpu.get_capabilities()
    sets = [name for name in INSTRUCTION_SETS if found.get(name)]
    parts = [
        f"{found.get('cpu_name') or platform.processor() or platform.machine()}, "
        f"{psutil.cpu_count(logical=False) or os.cpu_count()} cores "
        f"({', '.join(sets) or 'no vector instructions known'})",
        f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() != 1)}",
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB of memory",
        f"GPU: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "no GPU used",
        f"PyTorch {torch.__version__}",
        f"Python {platform.python_version()}",
        f"{datetime.date.today():%Y-%m-%d}",
    ]
    return f"Measured on {'; '.join(parts)}.\n"


def replace_section(page: str, name: str, content: str) -> str:
    """Return a page with the content of one section replaced.

    Raises:
        TisdissError: the page has no such section, or more than one.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, *rest = page.split(begin)
    if len(rest) != 1 or rest[0].count(end) != 1:
        raise TisdissError(
            f"the page must have one section {begin.strip()} ... {end.strip()}: add these lines "
            "where the results belong"
        )
    return f"{before}{begin}{content.strip()}\n{end}{rest[0].partition(end)[2]}"


def check_page(page: Path | None, name: str, partial: Sequence[str] = ()) -> None:
    """Check before minutes of work that the results can be written.

    Args:
        page: page to write to, if any.
        name: name of the section.
        partial: given options that leave out parts of the section.

    Raises:
        TisdissError: the page or its section is missing, or ``partial`` is not empty.
    """
    if page is None:
        return
    if partial:
        options = " and ".join(partial)
        raise TisdissError(f"--page needs complete results: omit {options}")
    _with_section(page, name, "")


def record(page: Path, name: str, content: str) -> None:
    """Replace a section of a page. The file is replaced atomically.

    Raises:
        TisdissError: there is no such file, or no such section in it.
    """
    write_atomically(page, _with_section(page, name, content).encode())


def _with_section(page: Path, name: str, content: str) -> str:
    """Return a page's text with a section replaced."""
    try:
        return replace_section(page.read_text(encoding="utf-8"), name, content)
    except OSError as error:
        raise TisdissError(f"{page}: {error.strerror}") from None
    except TisdissError as error:
        raise TisdissError(f"{page}: {error}") from None
