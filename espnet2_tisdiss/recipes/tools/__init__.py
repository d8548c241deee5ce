"""Programs outside the stages: bundling models, growing weights, and a demonstration."""
