"""Mixtures of two speakers, made on the fly from recordings of single speakers.

``bank`` stores the recordings, ``scenes`` draws the parameters of a mixture, ``rendering`` computes
its waveforms, and ``iterator`` passes new mixtures to ESPnet's trainer in every epoch.

Axis letters: j speaker, n sample.
"""
