"""Modules that the data preparations of the benchmark corpora share."""
