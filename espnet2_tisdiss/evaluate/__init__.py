"""Cost of a model and quality of its separation, by depth."""
