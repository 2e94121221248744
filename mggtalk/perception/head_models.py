"""What the head parser and the depth backend of the stage `shards` need: files, their hashes, libraries."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mggtalk.errors import WeightsError
from mggtalk.perception.head_backends import HEAD_GEOMETRIES, HEAD_PARSERS
from mggtalk.perception.networks import check_library, check_model_type
from mggtalk.weights.table import MODELS, Model, model_hash, require, resolve


@dataclass(frozen=True, slots=True)
class HeadModels:
    """The models of the chosen backends, all there and verified.

    Attributes:
        paths: for `make_head_parser` and `make_head_geometry`.
        hashes: SHA-256 by name, for content keys and `meta.json`; a folder of the user's own is named
            `PARAMETER:FOLDER`.
        libraries: distributions that the results hang on, sorted.
        seconds_per_frame, memory_bytes: that a frame may take beyond what the default backends take, for limits.
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
        parsing_model, depth_model: names of models in the registry, or paths of folders; only looked at where the
            backend has a network.

    Raises:
        WeightsError: a model is missing, damaged or unknown, or a network's library is not installed; the message says
            what to run.
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
            registered = chosen[backend.network] in models
            found.hashes[model.name if registered else f"{backend.network}:{model.name}"] = model.sha256
    return found
