"""Shards travel by DVC to an S3 server and back, and are read and trained on where they lie."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import mggtalk.shards
from mggtalk.artifacts import Artifacts
from mggtalk.errors import ShardError
from mggtalk.params import Params
from mggtalk.records import Split
from mggtalk.runtime.stage_command import StageArguments
from mggtalk.shards import Shards, write_index, write_shards, write_staged_clip
from pipelines import train
from tests.support import object_store
from tests.support.object_store import ObjectStore
from tests.support.paths import ROOT
from tests.support.shard_samples import MadeClip
from tests.support.synthetic_head import make_talking_clip

pytestmark = pytest.mark.services

MODEL = {"expression_size": 2, "resolution": 32, "unet_channels": 4, "feature_channels": 8, "hidden_channels": 16}
STEPS = {"steps": 3, "log_every": 1, "validate_every": 3, "validation_pairs": 1, "checkpoint_every": 3}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store.running(tmp_path_factory.mktemp("weed")) as running:
        yield running


@pytest.fixture(autouse=True)
def environment(store, tmp_path, monkeypatch) -> None:
    """Where the server is and who asks; no settings of whoever runs the tests."""
    for name in os.environ:
        if name.startswith(("AWS_", "DVC_")):
            monkeypatch.delenv(name)
    private = {name: str(tmp_path / name) for name in ("HOME", "MGGTALK_CACHE", "DVC_SITE_CACHE_DIR")}
    for name, value in {**store.environment, **private, "DVC_NO_ANALYTICS": "1"}.items():
        monkeypatch.setenv(name, value)


def command(folder: Path, *words: str) -> None:
    """Run git or DVC; its output is in the error if it fails."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(words, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]} {done.stderr[-2000:]}"


def commit(folder: Path) -> None:
    command(folder, "git", "add", "-A")
    command(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "shards")


def make_clips(count: int) -> list[MadeClip]:
    splits = (Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.VAL)
    return [
        make_talking_clip(f"{number * 3 + 1:x}" * 16 + "-f000000", seed=number, num_frames=2, split=splits[number % 4])
        for number in range(count)
    ]


def write(root: Path, clips: Sequence[MadeClip], staging: Path) -> None:
    stored = [write_staged_clip(staging / f"{clip.meta.clip_id}.tar", clip.samples()) for clip in clips]
    write_index(root, write_shards(root, stored, target_bytes=30_000))


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def dvc_folder_url(folder: Path, store: ObjectStore) -> str:
    """Return the URL of the shards as `dvc push` left them, as docs/sharing.md says."""
    digest = yaml.safe_load((folder / "shards.dvc").read_text())["outs"][0]["md5"]
    return f"s3://{store.bucket}/store/files/md5/{digest[:2]}/{digest[2:]}"


def assert_same_frames(shards: Shards, local: Shards) -> None:
    assert shards.clips() == local.clips()
    for clip in local.clips():
        ours, theirs = (each.source_frame(clip.clip_id, 0) for each in (shards, local))
        assert np.array_equal(ours.frame.image, theirs.frame.image)
        assert np.array_equal(ours.depth, theirs.depth)
        assert np.array_equal(shards.tracks(clip.clip_id).landmarks, local.tracks(clip.clip_id).landmarks)


def train_on(folder: Path, shards_url: str) -> dict[str, bytes]:
    """Train in `folder`, which holds nothing but the parameters; return the model's files."""
    folder.mkdir()
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"] |= {
        "workers": 1,
        "batch_size": 2,
        "track_pairs": 2,
        "augment": params["train"]["augment"] | {"mirror": False},
    } | STEPS
    params["train"]["model"] |= MODEL
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    artifacts = Artifacts(folder / "artifacts")
    artifacts.root.mkdir()
    train.run(StageArguments(Params.load(folder / "params.yaml"), artifacts), "local", shards_url)
    return files_of(artifacts.model)


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def test_pushed_pulled_streamed_and_trained_on(store, tmp_path, one_thread):
    sender, receiver = tmp_path / "sender", tmp_path / "receiver"
    write(sender / "shards", make_clips(4), tmp_path / "staging")
    command(tmp_path, "git", "init", "-q", "sender")
    command(sender, "dvc", "init", "-q")
    (sender / ".dvc" / "config").write_text(
        f"[core]\n    remote = store\n    analytics = false\n"
        f"['remote \"store\"']\n    url = s3://{store.bucket}/store\n    endpointurl = {store.endpoint}\n"
    )
    command(sender, "dvc", "add", "-q", "shards")
    command(sender, "dvc", "push", "-q")
    commit(sender)
    before = store.objects()

    command(tmp_path, "git", "clone", "-q", "sender", "receiver")
    command(receiver, "dvc", "pull", "-q")
    assert files_of(receiver / "shards") == files_of(sender / "shards")

    url, local = dvc_folder_url(sender, store), Shards(sender / "shards")
    assert_same_frames(mggtalk.shards.open(url), local)
    model = train_on(tmp_path / "far", url)
    assert set(model) == {"model.safetensors", "config.json"}
    assert model == train_on(tmp_path / "near", str(sender / "shards"))

    # One clip more: its shard, the index and the list of files travel, and nothing else.
    old = files_of(sender / "shards")
    write(sender / "shards", make_clips(5), tmp_path / "staging")
    new = files_of(sender / "shards")
    changed = {name for name, content in new.items() if old.get(name) != content}
    assert {name for name in changed if name.endswith(".tar")} == {"train/all.1.tar"}
    command(sender, "dvc", "add", "-q", "shards")
    command(sender, "dvc", "push", "-q")
    sent = {name: size for name, size in store.objects().items() if name not in before}
    assert len(sent) == len(changed) + 1
    assert sum(size for name, size in sent.items() if not name.endswith(".dir")) == sum(
        len(new[name]) for name in changed
    )
    assert_same_frames(mggtalk.shards.open(url), local)  # who reads the old state keeps it


def test_plain_copies_are_read_and_wrong_places_are_named(store, tmp_path):
    write(tmp_path / "shards", make_clips(1), tmp_path / "staging")
    store.file_system().put(str(tmp_path / "shards"), f"{store.bucket}/plain", recursive=True)
    shards = mggtalk.shards.open(f"s3://{store.bucket}/plain", storage_options={"endpoint_url": store.endpoint})
    assert_same_frames(shards, Shards(tmp_path / "shards"))
    with pytest.raises(ShardError, match=rf"s3://{store.bucket}/nothing/index\.parquet: no such file"):
        mggtalk.shards.open(f"s3://{store.bucket}/nothing")
