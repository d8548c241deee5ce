"""Recipes: data preparation of each corpus, the stages' programs, and what they share."""
