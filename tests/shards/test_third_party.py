"""The shards are plain: tar, WebDataset, JSON, JPEG, PNG, NumPy read them with nothing of ours."""

import gc
import io
import json
import subprocess
import tarfile

import numpy as np
import PIL.Image
import pytest
import webdataset

from tests.shards.samples import make_clip

CLIP = make_clip("ab" * 8 + "-f000000", num_frames=66, source_every=8, audio=b"fLaC")


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
        assert num_visible == (source.cloud.twin < 0).sum()
        twins = cloud["positions"][cloud["twin"]]
        assert np.array_equal(cloud["positions"][num_visible:], twins * np.array([-1, 1, 1], np.float16))
        assert cloud["normals"][:num_visible] / 127 == pytest.approx(source.cloud.normals[:num_visible], abs=0.004)


def test_tar_itself_lists_and_extracts(shard, tmp_path):
    listing = subprocess.run(["tar", "-tf", shard], check=True, capture_output=True, text=True)
    assert listing.stderr == ""
    assert listing.stdout.splitlines()[0] == f"{CLIP.meta.clip_id}-0000.meta.json"
    subprocess.run(["tar", "-xf", shard, "-C", tmp_path], check=True)
    assert json.loads((tmp_path / f"{CLIP.meta.clip_id}-0001.meta.json").read_text())["num_frames"] == 2
