"""What could not be said, gathered by name."""


class Lost:
    """Names of `exchange.losses`, each once, in the order in which they were met."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, *names: str) -> None:
        """Note what is lost."""
        for name in names:
            self._names[name] = None

    def add_if(self, condition: object, name: str) -> None:
        """Note it where there is something to be lost."""
        if condition:
            self._names[name] = None

    @property
    def names(self) -> tuple[str, ...]:
        """All that were noted."""
        return tuple(self._names)
