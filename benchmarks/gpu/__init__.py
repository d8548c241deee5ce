"""The steps of benchmarks/gpu.sh, which need PyTorch, numpy and a few small packages."""
