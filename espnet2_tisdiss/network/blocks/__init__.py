"""Building blocks of the TISDiSS separator, one concept per file.

Axis letters in this package: b batch, j speaker (source), h feature channel, t frame, f frequency
bin or band, n sample. Feature maps have one layout, channels last: (b, t, f, h) for the mixture and
(b, j, t, f, h) for the speakers' streams. A path works on contiguous rows (b, rows, length, h):
blocks pass it a transposed view, and it copies the part that it processes.
"""
