"""Lists of points of several heads, and the same points in one row for each head."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from mggtalk.models.points.async_nonzero import AsyncScalar


@dataclass(frozen=True, slots=True, eq=False)
class PackedToPadded:
    """Where each point of a list goes in a table of one row for each head; what is left of a row is padding.

    Attributes:
        head: row of each point. place: in its row, from 0 on, without gaps. shape: number of heads, longest row.
    """

    head: Int64[Tensor, " num_points"]
    place: Int64[Tensor, " num_points"]
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, head: Int64[Tensor, " num_points"], num_heads: int, longest: AsyncScalar | None = None
    ) -> "PackedToPadded":
        """Return the layout of points that belong to these heads, which may come in any order.

        Args:
            longest: the most points of one head, if that is under way.
        """
        order = torch.argsort(head, stable=True)
        heads = torch.arange(num_heads, device=head.device)
        # Not bincount, which waits for the device once more than `shape` does.
        first = torch.searchsorted(head[order], heads)
        place = torch.empty_like(head)
        place[order] = torch.arange(len(head), device=head.device) - first[head[order]]
        if longest is None:
            longest = AsyncScalar(torch.diff(first, append=first.new_full((1,), len(head))).max())
        return cls(head, place, (num_heads, max(longest.wait(), 1)))

    def split_each(self, parts: int) -> "PackedToPadded":
        """Return the layout of a list with `parts` points in the place of each, next to each other."""
        part = torch.arange(parts, device=self.place.device)
        place = (self.place.unsqueeze(1) * parts + part).flatten()
        return PackedToPadded(self.head.repeat_interleave(parts), place, (self.shape[0], self.shape[1] * parts))

    def pad(self, values: Float[Tensor, "num_points *size"]) -> Float[Tensor, "num_heads longest *size"]:
        """Return the points' values in rows, and zeros elsewhere."""
        return values.new_zeros((*self.shape, *values.shape[1:])).index_put((self.head, self.place), values)

    def unpad(self, rows: Shaped[Tensor, "num_heads longest *size"]) -> Shaped[Tensor, "num_points *size"]:
        """Return the values of the points."""
        return rows.flatten(0, 1).index_select(0, self.head * self.shape[1] + self.place)
