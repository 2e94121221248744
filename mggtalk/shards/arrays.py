"""Arrays as `.npz` bytes that depend on the arrays alone, and back, without pickle.

Members are stored, not deflated: floats hardly shrink, and deflate's output differs between builds of zlib.
"""

import io
import math
import zipfile
from collections.abc import Mapping

import numpy as np

_NPY_VERSION = (1, 0)
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def dump_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return `arrays` as an `.npz` with members in the given order; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH)
            member.create_system = 3  # Unix; the default is the system's that writes
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), version=_NPY_VERSION, allow_pickle=False)
    return buffer.getvalue()


def load_arrays(data: bytes, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays called `names` from the bytes of an `.npz`.

    Raises:
        ValueError: damaged, a name is missing, or an array holds objects (which would need pickle).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: _parse_array(archive.read(f"{name}.npy")) for name in names}
    except KeyError as cause:
        raise ValueError(f"no such array: {cause}") from None
    except (zipfile.BadZipFile, EOFError, OSError) as cause:
        raise ValueError(f"not an .npz: {cause}") from None


def _parse_array(data: bytes) -> np.ndarray:
    """Return the array of an `.npy`; np.load takes three times as long, and every sample's tracks are read this way."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != _NPY_VERSION:
        raise ValueError(f"not an .npy of version {_NPY_VERSION}")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    values = np.frombuffer(bytearray(data), dtype, count=math.prod(shape), offset=file.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")
