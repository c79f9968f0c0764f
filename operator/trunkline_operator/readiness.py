"""When this replica is ready, as ``/readyz`` says."""

from collections.abc import Callable, Iterable

from trunkline_operator.rights import Rights


class Readiness:
    """Ready when it serves, and has every right without which nothing works.

    A replica that was ready once goes by what it serves only. Rights that are withdrawn later, or an API server that
    does not say, would make all replicas unready in the same minute and take them out of the Service, although they
    serve what they have as well as before; no new gateway could come. So that is a warning from then on.
    """

    def __init__(self, serving: Callable[[], list[str]], rights: Rights) -> None:
        """Make one.

        Args:
            serving: Why nothing is served yet; none: it is.
            rights: Those that are asked for.
        """
        self._serving = serving
        self._rights = rights
        self._was_ready = False
        self._served = False

    def why_not(self) -> list[str]:
        """Reasons; none: ready."""
        reasons = self._serving()
        if reasons:
            self._served = False
            return reasons if self._was_ready else [*reasons, *unsaid(self._rights.missing, reasons)]
        if self._was_ready:
            return []
        if not self._served and self._rights.missing:
            self._rights.ask_soon()  # they seem to have been given just now
        self._served = True
        if not self._rights.asked:
            return ["the API server has not yet said which rights the operator has"]
        self._was_ready = not self._rights.missing
        return list(self._rights.missing)

    def warnings(self) -> list[str]:
        """What does not make it unready, and does not work."""
        return list(self._rights.missing) if self._was_ready else []


def unsaid(sentences: Iterable[str], said: Iterable[str]) -> list[str]:
    """Those of ``sentences`` that are not part of what was said."""
    text = "\n".join(said)
    return [each for each in sentences if each not in text]
