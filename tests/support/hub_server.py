"""A hub on the loopback interface: the part of the Hugging Face protocol that downloads of single files need."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.range_server import answering

REPOSITORY = "somebody/model"
LARGE = "model.safetensors"


class HubServer(ThreadingHTTPServer):
    """One repository with branches and commits.

    Attributes:
        branches: name -> commit. commits: commit -> files. stated_sha256: of the large file, instead of its own.
        requests: method and path of all so far. ranges: the `Range` headers of downloads.
        cut_after: bytes of the next large answer after which the connection breaks, once.
    """

    def __init__(self, commits: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits = {commit: dict(files) for commit, files in commits.items()}
        self.branches = {"main": next(iter(commits))}
        self.stated_sha256: str | None = None
        self.cut_after: int | None = None
        self.requests: list[str] = []
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.server_port}"

    def sha256(self, content: bytes) -> str:
        """Return the SHA-256 that the hub states of its large file."""
        return self.stated_sha256 or hashlib.sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        for prefix, answer in (
            (f"/api/models/{REPOSITORY}/revision/", self._revision),
            (f"/{REPOSITORY}/resolve/", self._file),
        ):
            if self.path.startswith(prefix):
                answer(self.path.removeprefix(prefix).partition("?")[0])
                return
        self._refuse("RepoNotFound")

    def _revision(self, revision: str) -> None:
        commit = self.server.branches.get(revision, revision)
        if commit not in self.server.commits:
            self._refuse("RevisionNotFound")
            return
        siblings = [self._sibling(name, content) for name, content in self.server.commits[commit].items()]
        answer = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": commit, "siblings": siblings}
        self._answer(json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _sibling(self, name: str, content: bytes) -> dict[str, object]:
        sibling: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
        if name == LARGE:
            sha256 = self.server.sha256(content)
            sibling["lfs"] = {"size": len(content), "sha256": sha256, "oid": sha256, "pointerSize": 134}
        return sibling

    def _file(self, path: str) -> None:
        commit, _, name = path.partition("/")
        content = self.server.commits.get(commit, {}).get(name)
        if content is None:
            self._refuse("EntryNotFound")
            return
        etag = self.server.sha256(content) if name == LARGE else hashlib.sha1(content).hexdigest()
        self._answer(content, {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}, name == LARGE)

    def _answer(self, content: bytes, headers: Mapping[str, str], large: bool = False) -> None:
        start = 0
        if self.command == "GET" and large:
            wanted = self.headers.get("Range")
            self.server.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.send_response(206 if start else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            cut = None
            if large and self.server.cut_after is not None:
                cut, self.server.cut_after = start + self.server.cut_after, None
                self.close_connection = True
            self.wfile.write(content[start:cut])

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print no log."""


def running_hub(commits: Mapping[str, Mapping[str, bytes]]) -> AbstractContextManager[HubServer]:
    """Give a running server."""
    return answering(HubServer(commits))
