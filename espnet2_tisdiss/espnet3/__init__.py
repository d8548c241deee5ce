"""A system for ESPnet3: training, separation at several depths, scores, packed models and demos."""
