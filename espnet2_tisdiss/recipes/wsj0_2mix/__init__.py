"""The corpora WSJ0-2mix and WSJ0-3mix."""
