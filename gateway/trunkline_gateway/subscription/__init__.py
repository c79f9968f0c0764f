"""The table coming in: the stream from the operator, what is held, and the last known good."""
