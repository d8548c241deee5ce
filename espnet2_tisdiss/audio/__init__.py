"""Read, resample and write audio block by block."""
