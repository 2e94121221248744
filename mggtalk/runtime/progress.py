"""Shows the progress of a long run: a bar on a terminal, a line every half minute in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from tqdm import tqdm

_logger = logging.getLogger(__name__)

T = TypeVar("T")

_BAR_AFTER_S = 2.0
_LINE_EVERY_S = 30.0


class Progress:
    """Counts up to `total`, on stderr; shows nothing in the first 2 s. Use it as a context manager."""

    def __init__(self, name: str, total: int, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._done = 0
        self._last_line_s = time.monotonic()
        self._on_terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total, desc=name, unit=unit, delay=_BAR_AFTER_S, dynamic_ncols=True, disable=not self._on_terminal
        )

    def advance(self) -> None:
        """Count one more."""
        self.reach(self._done + 1)

    def reach(self, done: int, note: str = "") -> None:
        """Show that `done` of the total are done; `note` stands behind the count."""
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._done)
        self._done = done
        now_s = time.monotonic()
        if not self._on_terminal and now_s - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = now_s
            _logger.info("%s: %d of %d %ss%s", self._name, done, self._total, self._unit, note and f", {note}")

    def __enter__(self) -> Self:
        """Start to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal in order."""
        self._bar.close()


def counted(results: Iterable[T], name: str, total: int, unit: str) -> Iterator[T]:
    """Yield `results`, and show how many of `total` have come."""
    with Progress(name, total, unit) as progress:
        for result in results:
            yield result
            progress.advance()
