"""Resolves the needs of the stage `shards`' head parser and depth backend: files, their hashes, libraries."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mggtalk.errors import WeightsError
from mggtalk.perception.head_backends import HEAD_GEOMETRIES, HEAD_PARSERS
from mggtalk.perception.networks import check_library, check_model_type
from mggtalk.weights.table import MODELS, Model, model_hash, require, resolve


@dataclass(frozen=True, slots=True)
class HeadModels:
    """The verified models of the chosen backends.

    Attributes:
        paths: for `make_head_parser` and `make_head_geometry`.
        hashes: SHA-256 by name, for content keys and `meta.json`; a user's own folder is named `PARAMETER:FOLDER`.
        libraries: distributions that the results depend on, sorted.
        seconds_per_frame, memory_bytes: limits per frame and process, beyond those of the default backends.
    """

    paths: dict[str, Path]
    hashes: dict[str, str]
    libraries: tuple[str, ...]
    seconds_per_frame: float
    memory_bytes: int

    @property
    def has_network(self) -> bool:
        """Whether a GPU would help."""
        return self.seconds_per_frame > 0


def head_models(
    head_parsing: str,
    depth: str,
    *,
    parsing_model: str,
    depth_model: str,
    models: Mapping[str, Model] = MODELS,
) -> HeadModels:
    """Find and verify the models of two backends; never downloads.

    Args:
        head_parsing, depth: keys of `HEAD_PARSERS` and `HEAD_GEOMETRIES`.
        parsing_model, depth_model: names of models in the weights table, or paths of folders; ignored if the backend
            has no network.

    Raises:
        WeightsError: a model is missing, damaged or unknown, or a network's library is not installed; the message has
            the command to run.
    """
    chosen = {"parsing_model": parsing_model, "depth_model": depth_model}
    backends = (HEAD_PARSERS[head_parsing], HEAD_GEOMETRIES[depth])
    libraries = {library for backend in backends for library in backend.libraries}
    found = HeadModels(
        {},
        {},
        tuple(sorted(libraries)),
        sum(backend.seconds_per_frame for backend in backends),
        sum(backend.memory_bytes for backend in backends),
    )
    for backend in backends:
        for name in backend.models:
            found.paths[name], found.hashes[name] = require(name, models), model_hash(name, models)
        if backend.network:
            check_library(backend.network)
            try:
                model = resolve(chosen[backend.network], models)
                check_model_type(model.path, backend.model_type)
            except WeightsError as fault:
                raise WeightsError(f"shards.{backend.network}: {fault}") from fault
            found.paths[backend.network] = model.path
            in_table = chosen[backend.network] in models
            found.hashes[model.name if in_table else f"{backend.network}:{model.name}"] = model.sha256
    return found
