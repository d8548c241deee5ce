"""The command ``tisdiss``: one module per subcommand, assembled in app.py.

Heavy packages are imported when a subcommand runs, so that help and completion are fast. Results
go to standard output, as JSON with ``--json``; progress and messages go to standard error.
"""
