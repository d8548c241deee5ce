"""Pages for a browser: the report of a folder, and the page to listen on."""
