from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from mggtalk.shards.storage.local import LocalStorage


def test_threads_that_open_a_file_at_once_read_it(tmp_path):
    """All threads open the file and one descriptor is kept; the others must stay open until they have read."""
    (tmp_path / "shard").write_bytes(b"content")
    threads = 8
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(300):
            storage, start = LocalStorage(tmp_path), Barrier(threads)

            def read(_, storage=storage, start=start):
                start.wait()
                return storage.read("shard", 3, 4)

            assert list(pool.map(read, range(threads))) == [b"tent"] * threads
