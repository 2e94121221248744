"""The shard format: WebDataset tars of encoded chunks, their index, a random-access reader and the data-set card.

Read `docs/shards.md` for the normative description. In the order of use: `schema` names the members, `encode` makes a
sample, `staging` writes one clip's samples as a small tar, `prefix_tree` says which clips share a shard, `writer`
assembles shards, `index` finds every member again, `reader` decodes what is asked for, `card` sums it up for people.
Data sets that lie elsewhere: `places` takes the URL, `remote_storage` fetches, `cache` keeps.
"""

from mggtalk.shards.card.card import CardContext, write_card
from mggtalk.shards.card.examples import write_examples
from mggtalk.shards.clips import ClipEntry
from mggtalk.shards.codecs.clouds import decode_cloud, encode_cloud
from mggtalk.shards.codecs.sample import SourceGeometry, encode_sample
from mggtalk.shards.codecs.tracks import ClipTracks
from mggtalk.shards.corrupt_samples import CorruptSamplePolicy, OnCorruptSample
from mggtalk.shards.index import SampleRow, read_index, write_index
from mggtalk.shards.opening import open_shards
from mggtalk.shards.opening import open_shards as open  # noqa: A004  read as `shards.open`; this module opens no files
from mggtalk.shards.reader import Shards
from mggtalk.shards.schema import CHUNK_FRAMES, INDEX_NAME, SCHEMA_VERSION, SampleMeta
from mggtalk.shards.storage.location import CacheLimits
from mggtalk.shards.writing.staging import StagedClip, open_staged, write_staged_clip
from mggtalk.shards.writing.writer import write_shards

__all__ = [
    "CHUNK_FRAMES",
    "INDEX_NAME",
    "SCHEMA_VERSION",
    "CacheLimits",
    "CardContext",
    "ClipEntry",
    "ClipTracks",
    "CorruptSamplePolicy",
    "OnCorruptSample",
    "SampleMeta",
    "SampleRow",
    "Shards",
    "SourceGeometry",
    "StagedClip",
    "decode_cloud",
    "encode_cloud",
    "encode_sample",
    "open",
    "open_shards",
    "open_staged",
    "read_index",
    "write_card",
    "write_examples",
    "write_index",
    "write_shards",
    "write_staged_clip",
]
