"""What ties the package to ESPnet: registration and training."""
