"""What `/v1/models` says."""
