"""The corpus WHAMR!."""
