"""Wire formats: sans-I/O codecs, one folder each; no dialect knows another."""
