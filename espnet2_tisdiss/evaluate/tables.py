"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], compact: bool = False
) -> str:
    """Return a table, the first column left-aligned, the others, which hold numbers, right-aligned.

    Args:
        header: names of the columns.
        rows: their cells.
        compact: without spaces and alignment, as ESPnet writes its tables of results.
    """
    others = "---" if compact else "---:"
    lines = [header, ["---", *[others] * (len(header) - 1)], *rows]
    if compact:
        return "".join(f"|{'|'.join(line)}|\n" for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
