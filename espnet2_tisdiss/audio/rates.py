"""The sample rates that recordings may have."""

# in Hz; others mean a broken header, and resampling from them would take hours
RATES = range(1000, 768_001)
