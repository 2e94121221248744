"""What `verify` finds wrong, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is not as it should be.

    Attributes:
        file: path in the data set, with `/`. what: what is wrong with it.
        sample, member: where in a shard, or which row of the index; empty where it is no single one's.
        expected, got: empty where there is nothing to compare.
    """

    file: str
    what: str
    sample: str = ""
    member: str = ""
    expected: str = ""
    got: str = ""

    def __str__(self) -> str:
        place = [self.file]
        if self.sample:
            place.append(f"sample {self.sample}")
        if self.member:
            place.append(f"member {self.member}")
        comparison = f": got {self.got}, expected {self.expected}" if self.expected or self.got else ""
        return f"{': '.join(place)}: {self.what}{comparison}"
