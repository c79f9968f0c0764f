"""What `trunkline run` is told on the command line or in the environment."""

from pathlib import Path
from typing import Final

from trunkline_protocol import flags, logs

RUN_FLAGS: Final = (
    flags.Flag("host", flags.text, "Address to listen on.", "127.0.0.1"),
    flags.Flag("port", flags.port, "Port of the APIs.", 8080),
    flags.Flag("admin-port", flags.port, "Port of metrics, health and debug.", 9090),
    flags.Flag("redis-url", flags.text, "Redis for limits: redis://, rediss:// or unix://. Not used yet."),
    flags.Flag("fetch-image-urls", flags.switch, "Fetch images behind URLs for upstreams that take no URLs.", False),
    flags.Flag("max-body-bytes", flags.size, "Longest body of a request.", 64 << 20),
    flags.Flag("state-dir", flags.path, "Where the key of this run and the last table are kept.", Path(".trunkline")),
    flags.Flag("welcome", flags.switch, "Make a key for this run, ask for a first answer, print how to go on.", False),
    flags.Flag("log-level", flags.one_of(*logs.LEVELS), "The least that is logged.", "warning"),
    flags.Flag("log-format", flags.one_of(*logs.FORMATS), "json, or text for people.", "text"),
)
