"""Metrics, logs and reports of what happens to requests."""
