"""Tables of a step, written to JSON and Markdown after every row."""

import gc
import json
import logging
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from results import number, table

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.errors import first_line


class Report:
    """Tables that are saved after every row.

    Args:
        out: folder of the results.
        step: name of the step and of the files.
        device: cpu or cuda.
    """

    def __init__(self, out: Path, step: str, device: str):
        self._path = out / step
        gpu = torch.cuda.get_device_name() if device == "cuda" else "no GPU used"
        self.machine = f"{gpu}; PyTorch {torch.__version__}; Python {platform.python_version()}"
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def add(self, title: str, row: dict[str, Any]) -> None:
        """Add a row (column -> value) to a table, and write all tables."""
        self.tables.setdefault(title, []).append(row)
        content = {"machine": self.machine, "tables": self.tables}
        write_atomically(self._path.with_suffix(".json"), json.dumps(content, indent=1).encode())
        parts = [f"{title}\n\n{_table(rows)}" for title, rows in self.tables.items()]
        page = "\n".join([f"Measured on {self.machine}.\n", *parts])
        write_atomically(self._path.with_suffix(".md"), page.encode())

    def measure(
        self, title: str, names: dict[str, Any], run: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Add the row that a run returns, or its error; return the row."""
        try:
            found = run()
        except Exception as error:  # the other rows are still useful
            logging.exception("%s: %s", title, names)
            found = {"error": f"{type(error).__name__}: {first_line(error)}"}
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        self.add(title, names | found)
        return found


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return table(columns, [[_cell(row.get(name, "")) for name in columns] for row in rows])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return number(value) if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
    return str(value).replace("|", "/").replace("\n", " ")
