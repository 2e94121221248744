"""Signs of life of a long computation, for whoever watches it; whoever computes knows nothing of the watcher.

`video.decode` beats at every frame; other loops that may run for minutes should beat at every step. What a process does
with beats is set once at its start (`runtime.isolation` does); without that they go nowhere.
"""

from collections.abc import Callable


def _nobody_listens() -> None:
    pass


_listener: Callable[[], None] = _nobody_listens


def beat() -> None:
    """Say that the work goes on. Costs well under a microsecond."""
    _listener()


def listen(listener: Callable[[], None]) -> None:
    """Have every beat of this process call `listener`."""
    global _listener  # noqa: PLW0603  one watcher a process
    _listener = listener
