"""The corpus voices_2mix: mixtures of recordings of single speakers."""
