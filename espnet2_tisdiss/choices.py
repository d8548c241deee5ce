"""Values of options that several layers share. Imports nothing, so that ``--help`` stays fast."""

from typing import Literal, get_args

# what to separate in a recording with several channels
Channel = Literal["mean", "left", "right", "each"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
# level of the separated signals; see espnet2_tisdiss/separate/loudness.py
Scale = Literal["estimate", "peak", "level", "mixture"]
SCALES: tuple[Scale, ...] = get_args(Scale)
DEFAULT_SCALE: Scale = "level"
# probability with which a wanted quality must be reached
DEFAULT_PROBABILITY = 0.8
# precision of the computation; "auto": that of the training, if the device supports it
Dtype = Literal["auto", "float32", "float64", "bfloat16", "float16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
# precision of an exported model's graphs; see espnet2_tisdiss/onnx/folder.py
Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# what to do if an output file exists
Existing = Literal["refuse", "skip", "overwrite"]
EXISTING: tuple[Existing, ...] = get_args(Existing)
# the sample rates that recordings may have, in Hz; others mean a broken header, and resampling from
# them would take hours
RATES = range(1000, 768_001)
# a deeper value is a typing error: quality stops growing a third beyond the training depth
MOST_N_RE = 1000
# the most threads, processes, or chunks of a batch; more would exhaust any machine
MOST_AT_ONCE = 1024
# outcome of a file
FileStatus = Literal["done", "skipped", "failed"]
# sample rate of the written files, named or in Hz
OutputRate = Literal["same", "model"] | int
