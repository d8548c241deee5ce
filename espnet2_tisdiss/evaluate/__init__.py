"""What a model costs and how well it separates, by depth."""
