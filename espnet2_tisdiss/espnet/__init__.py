"""Integration with ESPnet: registration and training."""
