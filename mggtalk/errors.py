"""All errors that a user can fix, as one tree; any other exception is a bug.

MggtalkError                exit code 2, one line, no stack trace
├── ParamsError             params.yaml: unknown key, wrong type, value out of range
├── RecipeError             datasets/NAME/recipe.yaml: missing, unknown key, no videos
├── WeightsError            a file of model weights or samples: missing, wrong hash, no source answers
├── VideoError              one video cannot be probed or decoded (stages turn it into a rejection)
├── ShardError              shards or index: missing, damaged
│   └── SchemaVersionError  written under a schema version that this reader does not know
├── StageError              a stage cannot start or finish: its input is missing or nothing was kept
├── SplitLeakageError       exit code 1: a person is in more than one part of the data set
└── VerificationError       exit code 1: `mggtalk shards verify` found issues
"""

import errno
import sys
from collections.abc import Callable


class MggtalkError(Exception):
    """Root of the errors that a user can fix; the message says what, got, expected, and on which key."""

    exit_code = 2


class ParamsError(MggtalkError):
    """`params.yaml` does not fit the configuration of a stage."""


class RecipeError(MggtalkError):
    """A data-set recipe cannot be used."""


class WeightsError(MggtalkError):
    """A file of model weights or samples is missing or has the wrong hash, or no source answered."""


class VideoError(MggtalkError):
    """A single video cannot be probed or decoded."""


class ShardError(MggtalkError):
    """Shards or their index are missing or damaged.

    Attributes:
        shard, sample, member: path in the data set, key and name of the shard, sample and member that cannot be read;
            empty if no single one is to blame (a damaged index, a clip that does not exist).
    """

    def __init__(self, message: str, *, shard: str = "", sample: str = "", member: str = "") -> None:
        super().__init__(message)
        self.shard, self.sample, self.member = shard, sample, member


class SchemaVersionError(ShardError):
    """The shards were written under a schema version that this reader does not know."""


class StageError(MggtalkError):
    """A stage cannot start (its input is missing) or kept nothing."""


class SplitLeakageError(MggtalkError):
    """A person is in more than one part of the data set; the command itself worked, so its exit code is 1."""

    exit_code = 1


class VerificationError(MggtalkError):
    """Verification found issues in the shards; the command itself worked, so its exit code is 1."""

    exit_code = 1


INSTALL_NETWORKS = "pip install -c constraints.txt '.[networks]'"
"""Command that a message suggests if the library of the networks is missing."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def run_main(function: Callable[[], None]) -> int:
    """Run the body of a command and return its exit code: 0, the code of a `MggtalkError`, or 130 for Ctrl-C.

    Raises:
        Exception: any other error, which is a bug, with its stack trace.
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
        return 130  # as a shell reports a command that SIGINT ended
    return 0
