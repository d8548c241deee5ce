"""The corpus mini_2mix: mixtures of synthesised speech."""
