"""Resources to routing table and verdicts: pure, deterministic, no clock, no I/O."""
