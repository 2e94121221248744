"""`verify` writes a table again and compares the bytes."""

import pyarrow as pa
import pyarrow.parquet as pq

from mggtalk.shards import write_index
from mggtalk.shards.verify.dataset_check import verify
from tests.support.verified_shards import find_issues


def test_rows_in_another_order_or_otherwise_compressed_are_found(dataset):
    root, rows = dataset
    table = pq.read_table(root / "index.parquet")
    pq.write_table(table, root / "index.parquet")
    (issue,) = find_issues(root)
    assert "not the bytes that its rows give" in issue.what
    write_index(root, rows.values())
    assert find_issues(root) == []


def test_an_index_by_another_arrow_is_a_note(dataset):
    root, _ = dataset
    ours = f"parquet-cpp-arrow version {pa.__version__}".encode()
    other = ours[:-1] + (b"0" if ours[-1:] != b"0" else b"1")
    path = root / "index.parquet"
    path.write_bytes(path.read_bytes().replace(ours, other))
    result = verify(root)
    assert result.issues == []
    assert other.decode() in result.notes[0]
