"""Tar, WebDataset, JSON, JPEG, PNG and NumPy read the shards without mggtalk."""

import gc
import io
import json
import subprocess
import tarfile
import urllib.request

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import webdataset

from mggtalk.records import Split
from tests.support import web_server
from tests.support.shard_samples import make_clip

SPLITS = (Split.TRAIN, Split.TRAIN, Split.VAL, Split.TRAIN)
CLIP = make_clip("ab" * 8 + "-f000000", num_frames=66, geometry_stride=8, audio=b"fLaC")


@pytest.fixture
def shard(tmp_path, write_dataset):
    write_dataset(tmp_path / "shards", [CLIP])
    return tmp_path / "shards/train/all.tar"


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # WebDataset leaves the closing of its files to the collector
def test_webdataset_streams_samples(shard):
    first, second = webdataset.WebDataset(str(shard), shardshuffle=False)
    gc.collect()
    assert [first["__key__"], second["__key__"]] == [f"{CLIP.meta.clip_id}-000{chunk}" for chunk in (0, 1)]
    assert json.loads(second["meta.json"])["start_frame"] == 64
    assert second["audio.flac"] == b"fLaC"
    assert sum(name.endswith(".rgb.jpg") for name in first) == 64


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_streams_a_split_from_a_web_server(tmp_path, write_dataset):
    """Follow docs/sharing.md: the index names the shards, WebDataset reads them, in any process."""
    clips = [make_clip(f"{digit * 16}-f000000", split=split) for digit, split in zip("147a", SPLITS, strict=True)]
    write_dataset(tmp_path / "shards", clips, target_bytes=1)
    files = {f"/{path.relative_to(tmp_path)}": path.read_bytes() for path in tmp_path.rglob("shards/**/*.*")}
    with web_server.running(files) as server:
        url = server.url("/shards")
        with urllib.request.urlopen(f"{url}/index.parquet") as answer:
            index = pq.read_table(io.BytesIO(answer.read()), columns=["shard"], filters=[("split", "==", "train")])
        shards = [f"{url}/{shard}" for shard in index["shard"].unique().to_pylist()]
        samples = list(webdataset.WebDataset(shards, shardshuffle=False))
        gc.collect()
    assert [sample["__key__"] for sample in samples] == [f"{digit * 16}-f000000-0000" for digit in "14a"]
    image = np.array(PIL.Image.open(io.BytesIO(samples[2]["001.rgb.jpg"]))).astype(int)
    assert np.abs(image - clips[3].rgb[1]).mean() < 2


def test_members_mean_what_the_document_says(shard):
    with tarfile.open(shard) as archive:
        members = {
            member.name.partition(".")[2]: file.read()
            for member in archive
            if member.name.startswith(f"{CLIP.meta.clip_id}-0000.") and (file := archive.extractfile(member))
        }
    meta = json.loads(members["meta.json"])
    assert meta["schema_version"] == 2
    frame = meta["source_frames"][1]
    source = CLIP.sources[frame]

    units = np.array(PIL.Image.open(io.BytesIO(members[f"{frame:03d}.depth.png"])))
    assert units * meta["depth_scale"][1] == pytest.approx(source.depth, abs=1e-3)

    colors = np.array(PIL.Image.open(io.BytesIO(members[f"{frame:03d}.normal.png"]))).astype(float)
    known = colors.any(-1)
    assert (colors / 255 * 2 - 1)[known] == pytest.approx(source.normals[known], abs=0.004)

    mask = np.array(PIL.Image.open(io.BytesIO(members[f"{frame:03d}.head.png"])).convert("L"))
    assert np.array_equal(mask == 255, CLIP.head_masks[frame])

    rgb = np.array(PIL.Image.open(io.BytesIO(members[f"{frame:03d}.rgb.jpg"]))).astype(int)
    assert np.abs(rgb - CLIP.rgb[frame]).mean() < 2

    with np.load(io.BytesIO(members[f"{frame:03d}.cloud.npz"])) as cloud:
        types = {name: cloud[name].dtype for name in cloud.files}
        assert types == {"positions": "f2", "normals": "i1", "source_pixel": "i2", "twin": "i4"}
        num_visible = len(cloud["positions"]) - len(cloud["twin"])
        assert num_visible == (source.cloud.mirrored_of < 0).sum()
        mirrored = cloud["positions"][cloud["twin"]]
        assert np.array_equal(cloud["positions"][num_visible:], mirrored * np.array([-1, 1, 1], np.float16))
        assert cloud["normals"][:num_visible] / 127 == pytest.approx(source.cloud.normals[:num_visible], abs=0.004)


def test_tar_itself_lists_and_extracts(shard, tmp_path):
    listing = subprocess.run(["tar", "-tf", shard], check=True, capture_output=True, text=True)
    assert listing.stderr == ""
    assert listing.stdout.splitlines()[0] == f"{CLIP.meta.clip_id}-0000.meta.json"
    subprocess.run(["tar", "-xf", shard, "-C", tmp_path], check=True)
    assert json.loads((tmp_path / f"{CLIP.meta.clip_id}-0001.meta.json").read_text())["num_frames"] == 2
