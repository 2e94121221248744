"""`mggtalk models`: fetch and list the registered model weights."""

from collections.abc import Mapping, Sequence

from mggtalk.weights.table import MODELS, Model, fetch, find, status


def fetch_models(names: Sequence[str], *, fetch_all: bool, models: Mapping[str, Model] = MODELS) -> None:
    """Download the models named, or the default ones, or all, and print where each lies.

    Raises:
        WeightsError: a name is unknown (nothing is downloaded then), or no source gave a file.
    """
    if fetch_all:
        chosen = list(models.values())
    elif names:
        chosen = [find(name, models) for name in names]
    else:
        chosen = [model for model in models.values() if model.default]
    for model in chosen:
        print(f"{model.name}: {fetch(model.name, models)}")


def list_models(models: Mapping[str, Model] = MODELS) -> None:
    """Print one line a model: name, state, size, licence, purpose."""
    for model in models.values():
        state = status(model.name, models)
        optional = "" if model.default else ", optional"
        size = "?" if model.size_bytes is None else f"{model.size_bytes / 1e6:.1f}"
        print(f"{model.name:26} {state:8} {size:>6} MB  {model.license:14} {model.purpose}{optional}")
