"""Models that are repositories of the Hugging Face hub.

Three files are taken: two with settings, and safetensors; never a pickle, never code. Their hashes are not known
beforehand: the first download resolves the revision to a commit, and writes commit and hashes into a lock file beside
the files. From then on the lock file decides; another commit comes only after the folder is removed.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mggtalk.errors import WeightsError
from mggtalk.files import atomic_write
from mggtalk.weights.downloads import cache_root, sha256_of
from mggtalk.weights.hub import HubRevision, download_files, resolve_revision
from mggtalk.weights.sources import ModelStatus

FILES = ("config.json", "model.safetensors", "preprocessor_config.json")
LOCK_FILE = "lock.json"


@dataclass(frozen=True, slots=True)
class HubModel:
    """One model of the hub.

    Attributes:
        repository: owner and name. revision: branch, tag or commit that the first download takes.
        license: of the weights. purpose: for `mggtalk models list`.
        endpoint: of the hub; default: that of its client.
    """

    name: str
    repository: str
    revision: str
    license: str
    purpose: str
    endpoint: str | None = None

    @property
    def default(self) -> bool:
        """Always false: the default pipeline needs no model of the hub, because its libraries are an extra."""
        return False

    @property
    def path(self) -> Path:
        """The folder in the cache, which may not exist."""
        return cache_root() / "models" / "hub" / self.name

    @property
    def size_bytes(self) -> int | None:
        """Size of the files in the cache; None while there are none."""
        return sum(path.stat().st_size for name in FILES if (path := self.path / name).is_file()) or None

    def status(self) -> ModelStatus:
        """Compare the files in the cache to the lock file."""
        if not (self.path / LOCK_FILE).is_file():
            return ModelStatus.MISSING
        try:
            self.require()
        except WeightsError:
            return ModelStatus.DAMAGED
        return ModelStatus.PRESENT

    def require(self) -> Path:
        """Check all files against the lock file and return the folder.

        Raises:
            WeightsError: the model was not fetched, or a file is missing or has changed.
        """
        for name, expected in self._lock().files.items():
            path = self.path / name
            got = sha256_of(path) if path.is_file() else "none: no such file"
            if got != expected:
                raise WeightsError(
                    f"model {self.name!r} is damaged: {path} has SHA-256 {got}, expected {expected} by {LOCK_FILE}; "
                    f"{self._remedy} to replace it"
                )
        return self.path

    def digest(self) -> str:
        """Return the digest of the files, from the hashes in the lock file; see `digest_of`.

        Raises:
            WeightsError: the model was not fetched.
        """
        return digest_of(self._lock().files)

    def fetch(self) -> Path:
        """Download the files if they are missing, a damaged file from the same commit, and return the folder.

        Raises:
            WeightsError: the hub did not give a file, or the file's hash is not the stated or locked one.
        """
        try:
            return self._fetch()
        except OSError as fault:
            raise WeightsError(f"model {self.name!r}: {self.path} cannot be written: {fault}") from fault

    def _fetch(self) -> Path:
        status = self.status()
        if status is ModelStatus.PRESENT:
            return self.path
        wanted = self._locked_revision() if status is ModelStatus.DAMAGED else None
        if wanted is None:
            wanted = resolve_revision(self.repository, self.revision, self.endpoint)
        download_files(self.repository, wanted.commit, FILES, self.path, self.endpoint)
        hashes = {name: sha256_of(self.path / name) for name in FILES}
        for name, got in hashes.items():
            if got != (expected := wanted.sha256.get(name, got)):
                (self.path / name).unlink()
                raise WeightsError(f"{self.repository}: the hub's {name} has SHA-256 {got}, expected {expected}")
        lock = {"repository": self.repository, "revision": self.revision, "commit": wanted.commit, "files": hashes}
        atomic_write(self.path / LOCK_FILE, json.dumps(lock, indent=1).encode())
        return self.path

    def _locked_revision(self) -> HubRevision | None:
        """Remove damaged files and return the revision in the lock file; None if the lock file is unusable."""
        try:
            lock = self._lock()
        except WeightsError:
            shutil.rmtree(self.path)
            return None
        for name, expected in lock.files.items():
            path = self.path / name
            if path.is_file() and sha256_of(path) != expected:
                path.unlink()
        return HubRevision(lock.commit, lock.files)

    def _lock(self) -> "_Lock":
        path = self.path / LOCK_FILE
        if not path.is_file():
            raise WeightsError(f"model {self.name!r} is missing: no file {path}; {self._remedy}")
        try:
            content = json.loads(path.read_bytes())
            lock = _Lock(content["repository"], content["revision"], content["commit"], dict(content["files"]))
        except (ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"model {self.name!r}: {path} is damaged ({error}); {self._remedy}") from error
        got, expected = (lock.repository, lock.revision, sorted(lock.files)), (self.repository, self.revision, [*FILES])
        if got != expected:
            raise WeightsError(f"model {self.name!r}: {path} is of {got}, expected {expected}; {self._remedy}")
        return lock

    @property
    def _remedy(self) -> str:
        return f"run `mggtalk models fetch {self.name}`"


@dataclass(frozen=True, slots=True)
class _Lock:
    repository: str
    revision: str
    commit: str
    files: Mapping[str, str]


def digest_of(hashes: Mapping[str, str]) -> str:
    """Return one SHA-256 over the files of a model; it depends on their names and hashes alone, not on their source."""
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def folder_digest(folder: Path) -> str:
    """Return the digest of a model in a user's own folder; files other than the three do not count.

    Raises:
        WeightsError: there is no such folder, or it lacks a file.
    """
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise WeightsError(f"{folder}: no folder of a model; expected {', '.join(FILES)}, missing {', '.join(missing)}")
    return digest_of({name: sha256_of(folder / name) for name in FILES})
