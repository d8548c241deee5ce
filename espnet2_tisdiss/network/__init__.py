"""The TISDiSS network: separator, options, loss."""
