"""Recipes: data preparation of each corpus, the stages' programs, and what they share.

A user's mistake, from a wrong option to a damaged file, raises a ``TisdissError`` with one line
that says what is wrong, where, and what to do. Docstrings mention it only if it is not obvious.
"""
