"""The comma-separated tables that describe corpora."""

import csv
from collections.abc import Sequence
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError


def read_table(path: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Read a comma-separated table with a header.

    Args:
        path: the table.
        columns: required columns, with a value in every row.

    Returns:
        For every row its place (file and line number) and column -> value.

    Raises:
        TisdissError: the table cannot be read, lacks a column or a value, or a row has more values
            than there are columns; the message names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := set(columns) - set(reader.fieldnames or []):
                raise TisdissError(f"{path}: has no column {', '.join(sorted(missing))}")
            rows = [(f"{path}:{reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TisdissError(f"{path}: cannot be read as a table: {error}") from None
    for where, row in rows:
        # csv puts surplus values under None, and None where one is missing
        if None in row or None in row.values() or not all(row[name] for name in columns):
            raise TisdissError(f"{where}: not a value for each column of the first line")
    return rows
