"""Parts of an HTML page in one file: tables, pictures and players, with their data inside.

Text from outside, such as file names, is escaped, and the page's security policy forbids scripts
and external content.
"""

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
import soundfile
import soxr

from espnet2_tisdiss.audio.writing import OutputFormat

PEAK = 0.9
PLAYED = OutputFormat("mp3")  # a format that every browser plays
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em;
  color: #111; background: #fff; }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #bbb; padding: .25em .8em; text-align: right; }
th:first-child, td:first-child { text-align: left; min-width: 10em; overflow-wrap: anywhere; }
img { max-width: 100%; }
figure { margin: 1em 0; }
.player { display: inline-block; margin: 0 1em .5em 0; }
.player span { display: block; }
pre { background: #f3f3f3; overflow-x: auto; padding: 1em; }
"""


def text(value: object) -> str:
    """Return a value as text of a page; file names may be any bytes."""
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode())


def page(title: str, parts: Iterable[str]) -> str:
    """Return a page made of HTML parts."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>\n<h1>{text(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def heading(words: object, level: int = 2) -> str:
    """Return a heading."""
    return f"<h{level}>{text(words)}</h{level}>"


def paragraph(words: object) -> str:
    """Return a paragraph."""
    return f"<p>{text(words)}</p>"


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table."""
    head = "".join(f"<th>{text(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>\n" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def picture(png: bytes, words: object) -> str:
    """Return a PNG picture with a text that describes it."""
    return f'<figure><img alt="{text(words)}" src="{_data("image/png", png)}"></figure>'


def player(samples: np.ndarray, rate: int, label: object) -> str:
    """Return a player of a waveform (n,), scaled to a peak of 0.9."""
    played = PLAYED.rate_for(rate)
    waves = samples if played == rate else soxr.resample(samples, rate, played)
    peak = float(np.abs(waves).max(initial=0.0))
    file = io.BytesIO()
    loud = waves * (PEAK / peak if peak else 1.0)
    soundfile.write(file, loud, played, format=PLAYED.container_for(len(loud)))
    source = _data("audio/mpeg", file.getvalue())
    return (
        f'<div class="player"><span>{text(label)}</span>'
        f'<audio controls preload="none" src="{source}"></audio></div>'
    )


def folded(summary: object, content: object) -> str:
    """Return a text that a click unfolds."""
    return f"<details><summary>{text(summary)}</summary><pre>{text(content)}</pre></details>"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
