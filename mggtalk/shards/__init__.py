"""The shard format: WebDataset tars of encoded chunks, their index, a random-access reader and the data-set card.

`docs/shards.md` is the normative description. In the order of use:

schema               names the members of a sample and its metadata
codecs/              encode a chunk of a clip as a sample, and decode its members
writing/             staging writes one clip as a small tar, prefix_tree groups clips, writer assembles shards
index, lazy_index    locate every sample and member; the lazy one reads only the parts that are needed
reader, clips        decode single frames, clouds and tracks; list the clips
corrupt_samples      stop at a corrupt sample, or skip and count it
storage/             local files, or byte ranges behind a URL with a page cache; location chooses
card/, protocol      describe the data set for people, and the metric protocol that its figures are measured under
verify/              check every byte
opening              `open_shards`: the entry point for users
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
