"""Resources in: the cluster or a directory, one store. Nothing after this stage can tell which."""
