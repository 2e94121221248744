"""Signs of life of a long computation, for a watcher that the computing code does not know.

`video.decode` beats at every frame; other loops that may run for minutes should beat at every step. A process sets its
listener once at its start, as `runtime.isolation` does; without a listener, beats do nothing.
"""

from collections.abc import Callable


def _nobody_listens() -> None:
    pass


_listener: Callable[[], None] = _nobody_listens


def beat() -> None:
    """Signal that the work goes on; takes well under a microsecond."""
    _listener()


def listen(listener: Callable[[], None]) -> None:
    """Make every beat of this process call `listener`."""
    global _listener  # noqa: PLW0603  one watcher per process
    _listener = listener
