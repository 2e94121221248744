"""Shards behind TLS, with certificates made by the test: which ones the reader trusts, and its errors otherwise."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trustme

import mggtalk.shards
from benchmarks.range_server import answering
from mggtalk.errors import ShardError
from mggtalk.shards import Shards
from tests.support import web_server
from tests.support.paths import ROOT
from tests.support.synthetic_head import make_talking_clip, write_talking_shards

ADA = "ab" * 8 + "-f000000"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority) -> ssl.SSLContext:
    """Return a client context that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def root(tmp_path) -> Path:
    folder = Path(tmp_path / "shards")
    write_talking_shards(folder, [make_talking_clip(ADA, seed=0, size=32, num_frames=3)])
    return folder


def serve(root: Path, certificate: trustme.LeafCert) -> web_server.FileServer:
    files = {f"/data/{path.relative_to(root)}": path.read_bytes() for path in root.rglob("*") if path.is_file()}
    server = web_server.FileServer(files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


@pytest.fixture
def server(root, authority) -> Iterator[web_server.FileServer]:
    with answering(serve(root, authority.issue_cert("127.0.0.1"))) as running:
        yield running


def url_of(server: web_server.FileServer) -> str:
    return f"https://127.0.0.1:{server.server_port}/data"


def inspect(url: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `mggtalk inspect` as a user does: aiohttp reads the authorities when it is imported."""
    command = [sys.executable, "-m", "mggtalk", "inspect", ADA, f"--shards={url}", "--output=ada.png"]
    return subprocess.run(
        command,
        check=False,
        cwd=folder,
        env={**os.environ, "MGGTALK_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )


def test_an_authority_of_the_users_is_trusted(server, authority, tmp_path):
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    done = inspect(url_of(server), tmp_path, SSL_CERT_FILE=str(trusted))
    assert (done.returncode, done.stdout) == (0, "ada.png\n"), done.stderr
    assert (tmp_path / "ada.png").is_file()


def test_a_certificate_of_nobody_known_is_refused(server, tmp_path):
    done = inspect(url_of(server), tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "certificate is not trusted: unable to get local issuer certificate (the environment's SSL_CERT_FILE" in (
        done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ada.png").exists()
    assert server.paths == []


def test_all_is_read_as_from_disk(server, root, trusting, tmp_path):
    shards = mggtalk.shards.open(url_of(server), cache_dir=tmp_path / "cache", storage_options={"ssl": trusting})
    assert shards.index_sha256() == Shards(root).index_sha256()
    for frame in range(3):
        assert np.array_equal(shards.image(ADA, frame), Shards(root).image(ADA, frame))
    assert any(server.ranges)


def test_a_certificate_of_another_host_is_refused_at_once(root, authority, trusting):
    with (
        answering(serve(root, authority.issue_cert("other.example"))) as server,
        pytest.raises(ShardError, match=r"/data/index\.parquet: .*not trusted: IP address mismatch") as caught,
    ):
        mggtalk.shards.open(url_of(server), cache_bytes=0, storage_options={"ssl": trusting})
    assert "tries" not in str(caught.value)
