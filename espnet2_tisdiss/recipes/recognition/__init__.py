"""Recipes that recognise separated speech: ESPnet's ``enh_asr1``."""
