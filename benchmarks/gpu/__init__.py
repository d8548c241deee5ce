"""What benchmarks/gpu.sh measures: steps that need PyTorch, numpy and a few small packages."""
