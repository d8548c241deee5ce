"""Separating waveforms, recordings and lists of files with a trained model."""
