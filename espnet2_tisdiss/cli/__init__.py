"""The command ``tisdiss``: one module for each of its subcommands, put together in app.py.

Nothing heavy is imported before a subcommand runs, so that help and completion are immediate.
Results go to standard output, or as JSON with ``--json``; progress and messages to standard error.
"""
