"""What became of it: conditions, status and Events."""
