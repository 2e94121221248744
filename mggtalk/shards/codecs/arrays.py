"""Encodes arrays as `.npz` bytes that depend on the arrays alone, and decodes them without pickle.

Members are stored, not deflated, because floats hardly shrink and deflate's output differs between builds of zlib.
"""

import io
import math
import struct
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

_NPY_VERSION = (1, 0)
_NPY_PREFIX_BYTES = 10  # magic, version, size of the header
# A ZIP member's local header (APPNOTE.TXT 4.3.7): size of its fixed part, and offset in it of the sizes of the rest.
_ZIP_HEADER_BYTES = 30
_SIZES_IN_ZIP_HEADER = 26
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def dump_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return `arrays` as an `.npz` with members in the given order; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH)
            member.create_system = 3  # Unix; the default depends on the system that writes
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), version=_NPY_VERSION, allow_pickle=False)
    return buffer.getvalue()


def load_arrays(data: bytes, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays called `names` from the bytes of an `.npz`; the caller checks the CRC-32, which the index has.

    Raises:
        ValueError: damaged, a name is missing, or an array holds objects (which would need pickle).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: _array_of(data, archive.getinfo(f"{name}.npy")) for name in names}
    except KeyError as cause:
        raise ValueError(f"no such array: {cause}") from None
    except (zipfile.BadZipFile, EOFError, OSError, struct.error) as cause:
        raise ValueError(f"not an .npz: {cause}") from None


def _array_of(data: bytes, member: zipfile.ZipInfo) -> np.ndarray:
    """Return an array straight from its bytes in the archive; np.load takes five times as long."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename}: expected to be stored, not compressed")
    name_size, extra_size = struct.unpack_from("<HH", data, member.header_offset + _SIZES_IN_ZIP_HEADER)
    start = member.header_offset + _ZIP_HEADER_BYTES + name_size + extra_size
    (header_size,) = struct.unpack_from("<H", data, start + _NPY_PREFIX_BYTES - 2)
    end = start + _NPY_PREFIX_BYTES + header_size
    shape, is_fortran, dtype = _parse_header(data[start:end])
    values = np.frombuffer(data, dtype, count=math.prod(shape), offset=end)
    return values.reshape(shape, order="F" if is_fortran else "C").copy()  # aligned, and may be written to


@lru_cache(maxsize=256)
def _parse_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether in Fortran order, and type. Cached: most samples of a data set have the same headers."""
    file = io.BytesIO(header)
    if np.lib.format.read_magic(file) != _NPY_VERSION:
        raise ValueError(f"expected .npy files of version {_NPY_VERSION}")
    parsed: tuple[tuple[int, ...], bool, np.dtype[Any]] = np.lib.format.read_array_header_1_0(file)
    if parsed[2].hasobject:
        raise ValueError("arrays of objects would need pickle")
    return parsed
