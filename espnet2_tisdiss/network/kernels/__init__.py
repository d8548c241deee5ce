"""The same mathematics, faster: kernels that the blocks choose by shape and device."""
