"""Every error that is the user's to mend, as one tree; anything else that is raised is a bug.

MggtalkError            exit code 2, one line, no stack trace
├── ParamsError         params.yaml: unknown key, wrong type, value out of range
├── RecipeError         datasets/NAME/recipe.yaml: missing, unknown key, no videos
├── WeightsError       a model or sample file: missing, wrong hash, no source answers
├── VideoError          one video cannot be probed or decoded (stages turn it into a rejection)
├── ShardError          shards or index: missing, damaged
│   └── SchemaVersionError   written by a version of the schema that this reader does not know
├── StageError          a stage cannot start or finish: its input is missing or nothing was kept
└── SplitLeakageError           exit code 1: somebody is in two parts of the data set
"""

import errno
import sys
from collections.abc import Callable


class MggtalkError(Exception):
    """Root of the errors that a user can mend; the message says what, got, expected, and on which key."""

    exit_code = 2


class ParamsError(MggtalkError):
    """`params.yaml` does not fit the configuration of a stage."""


class RecipeError(MggtalkError):
    """A data-set recipe cannot be used."""


class WeightsError(MggtalkError):
    """A registered file is missing, has the wrong hash, or no source answered."""


class VideoError(MggtalkError):
    """A single video cannot be probed or decoded."""


class ShardError(MggtalkError):
    """Shards or their index are missing or damaged.

    Attributes:
        shard, sample, member: what cannot be read: the shard's path in the data set, the sample's key, the member's
            name; empty where no single one is to blame (an index that is damaged, a clip that does not exist).
    """

    def __init__(self, message: str, *, shard: str = "", sample: str = "", member: str = "") -> None:
        super().__init__(message)
        self.shard, self.sample, self.member = shard, sample, member


class SchemaVersionError(ShardError):
    """The shards were written under a schema version that this reader does not know."""


class StageError(MggtalkError):
    """A stage cannot start (its input is missing) or has nothing to hand on."""


class SplitLeakageError(MggtalkError):
    """Somebody is in more than one part of the data set; not a fault of the command, so its exit code is 1."""

    exit_code = 1


class UnsoundError(MggtalkError):
    """Shards are not what they should be; not a fault of the command that looked, so its exit code is 1."""

    exit_code = 1


INSTALL_NETWORKS = "pip install -c constraints.txt '.[networks]'"
"""What to say where the library of the networks is missing."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def run_main(function: Callable[[], None]) -> int:
    """Run the body of a command and return its exit code: 0, that of an error of the user's, 130 for Ctrl-C.

    Raises:
        Exception: anything else is a bug, and keeps its stack trace.
    """
    try:
        function()
    except MggtalkError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        sys.stderr.write(f"error: {error}; what is finished is kept: make room and run again\n")
        return MggtalkError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130  # what a shell reports for a command that SIGINT ended
    return 0
