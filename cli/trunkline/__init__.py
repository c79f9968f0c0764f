"""The command line: `trunkline run`, `validate`, `keys`. The only package that may import both planes."""
