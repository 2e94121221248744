"""mggtalk: videos in; shareable shards, a trained Gaussian talking-head predictor and a report out.

The names below are imported when they are first used, so that `import mggtalk` costs nothing.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mggtalk.models.loading import load_model
    from mggtalk.records import Split
    from mggtalk.shards.opening import open_shards

__version__ = "0.1.0"

__all__ = ["Split", "__version__", "load_model", "open_shards"]

# OpenMP threads that wait for each other sleep instead of spinning, because spinning ones take the cores that others
# need when a machine is busy (docs/results.md). OpenMP reads this when torch loads; a value of the user's stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_MODULES = {
    "Split": "mggtalk.records",
    "load_model": "mggtalk.models.loading",
    "open_shards": "mggtalk.shards.opening",
}


if not TYPE_CHECKING:  # with it, type checkers would take any name for a public one

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
