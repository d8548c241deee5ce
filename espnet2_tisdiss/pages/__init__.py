"""Pages for a browser: the report of a folder, and the listening page."""
