"""Building blocks of the TISDiSS separator, one file a concept.

Axis letters, everywhere in this package: b batch, j speaker (source), h feature channel, t frame,
f frequency bin or band, n sample. Feature maps keep ONE layout, channels last: (b, t, f, h) for
the mixture and (b, j, t, f, h) for the speakers' streams. No block permutes memory to change
between time and frequency; each is told the axis it works along.
"""
