"""Data sets behind URLs: the same as on disk, fetched by ranges, kept, and never stale."""

import json
import multiprocessing
import os
import pickle
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest

import mggtalk.shards
from mggtalk.errors import ShardError
from mggtalk.records import Split
from mggtalk.shards import Shards
from mggtalk.shards.storage.page_cache import PageCache
from mggtalk.shards.storage.remote import RemoteStorage
from mggtalk.shards.storage.retries import with_retries
from tests.support import web_server
from tests.support.shard_samples import make_clip

ADA, BOB = "ab" * 8 + "-f000000", "cd" * 8 + "-f000000"


@pytest.fixture
def root(tmp_path, write_dataset) -> Path:
    clips = [make_clip(ADA, num_frames=66, audio=b"fLaC"), make_clip(BOB, split=Split.VAL)]
    write_dataset(tmp_path / "shards", clips, target_bytes=1)
    return Path(tmp_path / "shards")


def files_of(root: Path, prefix: str = "/data/") -> dict[str, bytes]:
    return {prefix + str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def server(root) -> Iterator[web_server.FileServer]:
    with web_server.running(files_of(root)) as running:
        yield running


@pytest.fixture
def open_remote(server, tmp_path):
    def open_remote(**options):
        return mggtalk.shards.open(server.url("/data"), cache_dir=tmp_path / "cache", **options)

    return open_remote


def content_of(shards: Shards) -> list[np.ndarray]:
    """Return everything that can be read of a data set, as arrays."""
    arrays: list[np.ndarray] = []
    for clip in shards.clips():
        arrays += [getattr(shards.tracks(clip.clip_id), name) for name in ("landmarks", "expression")]
        arrays += [shards.image(clip.clip_id, frame) for frame in range(clip.num_frames)]
        arrays += [shards.head_frame(clip.clip_id, frame).head_mask for frame in range(clip.num_frames)]
        for frame in clip.source_frames:
            source, cloud = shards.source_frame(clip.clip_id, frame), shards.cloud(clip.clip_id, frame)
            arrays += [source.depth, source.normals, cloud.positions, cloud.mirrored_of]
        arrays.append(np.frombuffer(shards.audio(clip.clip_id, 0) or b"", np.uint8))
    return arrays


def assert_same(shards: Shards, root: Path) -> None:
    expected = Shards(root)
    assert shards.clips() == expected.clips()
    assert shards.index_sha256() == expected.index_sha256()
    for ours, theirs in zip(content_of(shards), content_of(expected), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_path_a_file_url_memory_and_http_read_the_same(root, open_remote, tmp_path):
    memory = fsspec.filesystem("memory")
    for name, content in files_of(root, "/reading/").items():
        memory.pipe_file(name, content)
    assert_same(mggtalk.shards.open(root), root)
    assert_same(mggtalk.shards.open(root.as_uri()), root)
    assert_same(mggtalk.shards.open("memory://reading", cache_dir=tmp_path / "cache"), root)
    assert_same(open_remote(), root)
    assert_same(open_remote(), root)  # from the cache
    assert_same(open_remote(cache_bytes=0), root)


def test_a_split_has_its_own_clips_only(root, open_remote):
    assert [clip.clip_id for clip in open_remote(split="val").clips()] == [BOB]
    assert mggtalk.shards.open(root, Split.TRAIN).clips() == Shards(root).clips("train")
    with pytest.raises(ShardError, match=f"no clip '{ADA}' among 1"):
        open_remote(split="val").image(ADA, 0)


def test_frames_are_fetched_by_ranges_once(server, open_remote, root):
    shards = open_remote()
    server.ranges.clear()
    shards.head_frame(BOB, 0)
    size = (root / "val/all.tar").stat().st_size
    assert server.ranges
    assert all(wanted and wanted != f"bytes=0-{size - 1}" for wanted in server.ranges)
    again = open_remote()
    server.paths.clear()
    assert np.array_equal(again.head_frame(BOB, 0).image, shards.head_frame(BOB, 0).image)
    assert not [path for path in server.paths if path.endswith(".tar")]


@pytest.mark.parametrize("page_bytes", [1, 700, 5000, 1 << 30])
def test_pages_of_any_size_give_the_members(root, server, tmp_path, page_bytes):
    rows = Shards(root)._index
    storage = RemoteStorage(server.url("/data"), PageCache(tmp_path / "cache", 1 << 30), page_bytes=page_bytes)
    for number in range(len(rows.labels)):
        row = rows.row(number)
        for member in range(len(row.member_names)):
            offset, size = row.member_offsets[member], row.member_sizes[member]
            expected = (root / row.shard).read_bytes()[offset : offset + size]
            assert storage.read_member(row, member) == expected == storage.read_member(row, member)


def test_a_changed_data_set_is_never_served_from_the_cache(root, server, open_remote, write_dataset):
    before = open_remote()
    content_of(before)
    write_dataset(root, [make_clip(ADA, num_frames=66, seed=1), make_clip(BOB, split=Split.VAL, seed=1)], 1)
    server.files.update(files_of(root))
    assert_same(open_remote(), root)
    stale = open_remote(cache_bytes=0)
    stale._index = before._index  # an index that was read before the shards changed
    with pytest.raises(ShardError, match=f"sample {BOB}-0000: member meta.json: damaged"):
        stale.image(BOB, 0)


def test_what_does_not_fit_the_index_is_not_kept(root, server, open_remote, tmp_path):
    row = Shards(root)._index.row(2)
    good = server.files[f"/data/{row.shard}"]
    bad = bytearray(good)
    bad[row.member_offsets[0]] ^= 1
    server.files[f"/data/{row.shard}"] = bytes(bad)
    with pytest.raises(ShardError, match=r"member meta\.json: damaged"):
        open_remote().image(BOB, 0)
    server.files[f"/data/{row.shard}"] = good
    assert np.array_equal(open_remote().image(BOB, 0), Shards(root).image(BOB, 0))


def test_a_damaged_cache_is_fetched_again(root, open_remote, tmp_path):
    content_of(open_remote())
    pages = list((tmp_path / "cache").glob("*/*"))
    assert pages
    for number, page in enumerate(pages):
        page.write_bytes(b"torn" if number % 2 else bytes(page.stat().st_size))
    assert_same(open_remote(), root)


def test_the_cache_stays_within_its_limit(root, open_remote, tmp_path):
    assert_same(open_remote(cache_bytes=30_000), root)
    kept = [path.stat().st_size for path in (tmp_path / "cache").glob("*/*")]
    assert 0 < sum(kept) <= 30_000


def test_a_busy_server_is_asked_again(root, server, open_remote):
    shards = open_remote()
    server.busy = 1
    assert np.array_equal(shards.image(BOB, 1), Shards(root).image(BOB, 1))


def without_pauses(shards: Shards) -> Shards:
    """Read all that does not come from the shards of `BOB`, and remove the pauses between tries."""
    shards.meta(ADA)
    assert isinstance(shards._storage, RemoteStorage)
    shards._storage._pauses_s = (0, 0, 0)
    return shards


def test_what_fails_for_good_names_the_url_and_the_sample(server, open_remote):
    shards = without_pauses(open_remote())
    server.busy = 10**6
    where = (
        rf"shard val/all\.tar: sample {BOB}-0000: member meta\.json: cannot be read: {server.url('/data')}/val/all\.tar"
    )
    with pytest.raises(ShardError, match=where + r": HTTP 503 .* after 4 tries") as raised:
        shards.image(BOB, 0)
    assert raised.value.sample == ""  # no corrupt sample that a policy may skip
    server.busy = 0
    del server.files["/data/val/all.tar"]
    with pytest.raises(ShardError, match=where + ": no such file") as raised:
        shards.image(BOB, 0)
    assert raised.value.sample == f"{BOB}-0000"
    with pytest.raises(ShardError, match=r"/nothing/index\.parquet: no such file; it is written last"):
        Shards(server.url("/nothing"))


def test_a_connection_that_breaks_is_tried_again_then_named(server, open_remote):
    shards = without_pauses(open_remote())
    server.cut_after = 100
    server.paths.clear()
    with pytest.raises(ShardError, match=r"val/all\.tar: .* after 4 tries"):
        shards.image(BOB, 0)
    assert server.paths == ["/data/val/all.tar"] * 4


def test_a_server_without_ranges_is_named(server, open_remote):
    server.knows_ranges = False
    with pytest.raises(ShardError, match="does not answer requests for a range of bytes"):
        open_remote().image(BOB, 0)


def test_a_server_that_is_not_there_or_says_no_is_told_from_a_missing_file(server):
    storage = RemoteStorage(server.url("/data"), pauses_s=(0,))
    server.busy = 10**6
    with pytest.raises(OSError, match=r"/data/index\.parquet: HTTP 503 .* after 2 tries"):
        storage.size("index.parquet")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/data"
        with pytest.raises(OSError, match=rf"{nobody}/index\.parquet: Cannot connect .* after 2 tries"):
            RemoteStorage(nobody, pauses_s=(0,)).size("index.parquet")


def test_the_last_error_is_told_with_the_number_of_tries():
    def refused() -> bytes:
        raise ConnectionRefusedError("nobody")

    with pytest.raises(OSError, match=r"^here: nobody after 3 tries$"):
        with_retries(refused, "here", (OSError,), pauses_s=(0, 0))


@pytest.mark.parametrize("url", ["gopher://host/data", "simplecache::memory://data", "pipe:cat"])
def test_unknown_protocols_are_refused(url):
    if "://" in url:
        with pytest.raises(ShardError, match=r"protocol: got '[a-z]*', expected one of"):
            Shards(url)
    else:
        with pytest.raises(ShardError, match="no such file"):
            Shards(url)


def test_passwords_and_signatures_stay_out_of_messages():
    storage = RemoteStorage("https://me:secret@host.example/data?signature=abc")
    assert storage.where("train/all.tar") == "https://host.example/data/train/all.tar"
    assert storage._locate("train/all.tar") == "https://me:secret@host.example/data/train/all.tar?signature=abc"


def test_threads_share_a_page_and_a_pickle_reads_on(root, server, open_remote, tmp_path):
    shards, expected = open_remote(), Shards(root).image(ADA, 65)
    server.paths.clear()
    with ThreadPoolExecutor(8) as threads:
        images = list(threads.map(lambda frame: shards.image(ADA, frame), range(66)))
    assert np.array_equal(images[65], expected)
    assert server.paths.count("/data/train/all.tar") == len(list((tmp_path / "cache").glob("*/*")))
    assert np.array_equal(pickle.loads(pickle.dumps(shards)).image(ADA, 65), expected)


def _read_in_child(shards: Shards, results: "multiprocessing.SimpleQueue[bytes]") -> None:
    results.put(shards.image(ADA, 65).tobytes())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_reads_on(root, open_remote):
    shards = open_remote(cache_bytes=0)
    shards.image(ADA, 64)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_read_in_child, args=(shards, results))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert results.get() == Shards(root).image(ADA, 65).tobytes()


def test_a_folder_that_dvc_pushed_is_read_as_it_lies(root, tmp_path):
    """The layout of a DVC remote: objects by hash, and a list of the folder's files."""
    files: dict[str, bytes] = {}
    listed: list[dict[str, str]] = []
    for name, content in files_of(root, "").items():
        digest = f"{len(listed):032x}"
        files[f"/store/files/md5/{digest[:2]}/{digest[2:]}"] = content
        listed.append({"md5": digest, "relpath": name})
    files["/store/files/md5/ff/00.dir"] = json.dumps(listed).encode()
    with web_server.running(files) as server:
        url = server.url("/store/files/md5/ff/00.dir")
        assert_same(mggtalk.shards.open(url, cache_dir=tmp_path / "cache"), root)
        server.files["/store/files/md5/ff/00.dir"] = b'["train/all.tar"]'
        with pytest.raises(ShardError, match=r"/files/md5/ff/00\.dir: not a list of files as DVC writes it"):
            Shards(url)


def test_the_cache_is_beside_the_models_unless_said(root, server, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "MGGTALK_CACHE", str(tmp_path / "home"))
    Shards(server.url("/data")).image(BOB, 0)
    assert list((tmp_path / "home" / "shards").glob("*/*"))
