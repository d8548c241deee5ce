"""Faster ways to compute what the blocks define, chosen by shape and device.

Every function here states the equation that it computes. Results differ from it by rounding only.
"""
