"""ESPnet commands with the plugin registered."""
