"""The corpora Libri2Mix and Libri3Mix."""
