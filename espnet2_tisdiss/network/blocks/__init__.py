"""Building blocks of the TISDiSS separator, one file a concept.

Axis letters, everywhere in this package: b batch, j speaker (source), h feature channel, t frame,
f frequency bin or band, n sample. Feature maps keep ONE layout, channels last: (b, t, f, h) for
the mixture and (b, j, t, f, h) for the speakers' streams. A path works on rows (b, rows, length, h)
that lie in memory one after another: blocks give it a transposed view, and it copies what it takes.
"""
