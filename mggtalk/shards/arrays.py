"""Arrays as `.npz` bytes that depend on the arrays alone, and back, without pickle.

Members are stored, not deflated: floats hardly shrink, and deflate's output differs between builds of zlib.
"""

import io
import zipfile
from collections.abc import Mapping

import numpy as np

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def dump_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return `arrays` as an `.npz` with members in the given order; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH)
            member.create_system = 3  # Unix; the default is the system's that writes
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def load_arrays(data: bytes, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays called `names` from the bytes of an `.npz`.

    Raises:
        ValueError: damaged, a name is missing, or an array holds objects (which would need pickle).
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except KeyError as cause:
        raise ValueError(f"no such array: {cause}") from None
    except (zipfile.BadZipFile, EOFError, OSError) as cause:
        raise ValueError(f"not an .npz: {cause}") from None
