"""Downloads single files of repositories of the Hugging Face hub through its own client.

The client is an optional library (extra `networks`). It resumes downloads, shows their progress, and reads its own
settings: `HF_ENDPOINT` for a mirror, `HF_TOKEN` for repositories that ask for one.
"""

import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from mggtalk.errors import INSTALL_NETWORKS, WeightsError


@dataclass(frozen=True, slots=True)
class HubRevision:
    """A commit of a repository.

    Attributes:
        commit: the full hash. sha256: hashes of the files for which the hub states one, which are the large ones.
    """

    commit: str
    sha256: Mapping[str, str]


def resolve_revision(repository: str, revision: str, endpoint: str | None = None) -> HubRevision:
    """Ask the hub for the commit behind a branch, tag or commit.

    Args:
        repository: such as `depth-anything/Depth-Anything-V2-Small-hf`. endpoint: default: that of the client.

    Raises:
        WeightsError: the client is not installed, or the hub does not answer, or has no such repository or revision.
    """
    _require_client()
    from httpx2 import HTTPError  # noqa: PLC0415  what the client is built on
    from huggingface_hub import HfApi  # noqa: PLC0415  seconds to import, and optional
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    try:
        answer = HfApi(endpoint=endpoint).model_info(repository, revision=revision, files_metadata=True)
    except (HFValidationError, HfHubHTTPError, HTTPError, OSError) as error:
        raise WeightsError(f"{repository}, revision {revision}: the hub did not give it: {_one_line(error)}") from error
    if not answer.sha:
        raise WeightsError(f"{repository}, revision {revision}: the hub states no commit")
    stated = {file.rfilename: file.lfs.sha256 for file in answer.siblings or [] if file.lfs is not None}
    return HubRevision(answer.sha, stated)


def download_files(
    repository: str, commit: str, names: Collection[str], folder: Path, endpoint: str | None = None
) -> None:
    """Download files of a repository into `folder`, except those that are already there in the right state.

    Raises:
        WeightsError: the client is not installed, or the hub does not give a file.
    """
    _require_client()
    from httpx2 import HTTPError  # noqa: PLC0415  what the client is built on
    from huggingface_hub import hf_hub_download  # noqa: PLC0415  seconds to import, and optional
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError  # noqa: PLC0415

    for name in names:
        try:
            hf_hub_download(repository, name, revision=commit, local_dir=folder, endpoint=endpoint)
        except (EntryNotFoundError, HfHubHTTPError, HTTPError, OSError) as error:
            raise WeightsError(f"{repository}: the hub did not give {name}: {_one_line(error)}") from error


def _require_client() -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise WeightsError(f"models of the hub need the package huggingface_hub; run `{INSTALL_NETWORKS}`")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
