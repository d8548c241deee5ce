"""Recipes: data preparation of each corpus, the stages' programs, and what they share.

What a user can get wrong, from an option to a damaged file, is a ``TisdissError`` of one line that
says what is wrong, where, and what to do. Docstrings mention it only where that is not obvious.
"""
