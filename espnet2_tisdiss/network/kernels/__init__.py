"""Faster ways to compute what the blocks define, chosen by shape and device.

Every function states the equation that it computes; its results differ from that only by rounding.
"""
