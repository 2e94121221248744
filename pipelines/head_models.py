"""What the head parser and the depth backend of the stage `shards` need: files, their hashes, libraries."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mggtalk.perception.head_backends import HEAD_GEOMETRIES, HEAD_PARSERS
from mggtalk.registry.models import MODELS, Model, model_hash, require, resolve


@dataclass(frozen=True, slots=True)
class HeadModels:
    """The models of the chosen backends, all there and verified.

    Attributes:
        paths: for `make_head_parser` and `make_head_geometry`.
        hashes: SHA-256 by name, for content keys and `meta.json`; a folder of the user's own is named
            `PARAMETER:FOLDER`.
        libraries: distributions that the results hang on, sorted.
    """

    paths: dict[str, Path]
    hashes: dict[str, str]
    libraries: tuple[str, ...]


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
        RegistryError: a model is missing, damaged or unknown; the message says what to run.
    """
    chosen = {"parsing_model": parsing_model, "depth_model": depth_model}
    backends = (HEAD_PARSERS[head_parsing], HEAD_GEOMETRIES[depth])
    found = HeadModels({}, {}, tuple(sorted({library for backend in backends for library in backend.libraries})))
    for backend in backends:
        for name in backend.models:
            found.paths[name], found.hashes[name] = require(name, models), model_hash(name, models)
        if backend.network:
            model = resolve(chosen[backend.network], models)
            found.paths[backend.network] = model.path
            registered = chosen[backend.network] in models
            found.hashes[model.name if registered else f"{backend.network}:{model.name}"] = model.sha256
    return found
