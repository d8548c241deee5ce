"""Programs beside the stages: models for the package, weights to start from, a demonstration."""
