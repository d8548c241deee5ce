"""Trained models: those of the package, folders, archives and tags."""
