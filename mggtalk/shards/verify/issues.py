"""Issues that `verify` finds, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issue:
    """One deviation from a valid data set.

    Attributes:
        file: path in the data set, with `/`. what: the fault.
        sample, member: in a shard, or of a row of the index; empty if the fault is not one sample's or member's.
        expected, got: empty if there is nothing to compare.
    """

    file: str
    what: str
    sample: str = ""
    member: str = ""
    expected: str = ""
    got: str = ""

    def __str__(self) -> str:
        location = [self.file]
        if self.sample:
            location.append(f"sample {self.sample}")
        if self.member:
            location.append(f"member {self.member}")
        comparison = f": got {self.got}, expected {self.expected}" if self.expected or self.got else ""
        return f"{': '.join(location)}: {self.what}{comparison}"
