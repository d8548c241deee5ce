"""Two people speaking at once, mixed from recordings of single speakers.

``bank`` holds the recordings, ``scenes`` draws what happens in a mixture, ``rendering`` turns it
into waveforms, and ``iterator`` feeds new mixtures to ESPnet's trainer in every epoch.

Axis letters: j speaker, n sample.
"""
