"""Converts lists of points of several heads between packed (one list) and padded (one row for each head)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from mggtalk.models.points.async_nonzero import AsyncScalar


@dataclass(frozen=True, slots=True, eq=False)
class PackedToPadded:
    """Maps each point of a packed list to its cell in a table of one row for each head, padded at the end.

    Attributes:
        batch_index: row of each point. point_index: its column, counted from 0 without gaps.
        shape: number of heads, `max_points`.
    """

    batch_index: Int64[Tensor, " num_points"]
    point_index: Int64[Tensor, " num_points"]
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, batch_index: Int64[Tensor, " num_points"], num_heads: int, max_points: AsyncScalar | None = None
    ) -> "PackedToPadded":
        """Return the packing of points that belong to these heads, in any order.

        Args:
            max_points: the most points of one head, if it is already being copied.
        """
        order = torch.argsort(batch_index, stable=True)
        heads = torch.arange(num_heads, device=batch_index.device)
        # Not bincount, which waits for the device once more than `shape` does.
        first = torch.searchsorted(batch_index[order], heads)
        point_index = torch.empty_like(batch_index)
        point_index[order] = torch.arange(len(batch_index), device=batch_index.device) - first[batch_index[order]]
        if max_points is None:
            max_points = AsyncScalar(torch.diff(first, append=first.new_full((1,), len(batch_index))).max())
        return cls(batch_index, point_index, (num_heads, max(max_points.wait(), 1)))

    def split_each(self, parts: int) -> "PackedToPadded":
        """Return the packing of a list that holds `parts` adjacent points for each point of this one."""
        part = torch.arange(parts, device=self.point_index.device)
        point_index = (self.point_index.unsqueeze(1) * parts + part).flatten()
        return PackedToPadded(
            self.batch_index.repeat_interleave(parts), point_index, (self.shape[0], self.shape[1] * parts)
        )

    def pad(self, values: Float[Tensor, "num_points *size"]) -> Float[Tensor, "num_heads max_points *size"]:
        """Return the points' values in rows, padded with zeros."""
        rows = values.new_zeros((*self.shape, *values.shape[1:]))
        return rows.index_put((self.batch_index, self.point_index), values)

    def unpad(self, rows: Shaped[Tensor, "num_heads max_points *size"]) -> Shaped[Tensor, "num_points *size"]:
        """Return the values of the points as a packed list."""
        return rows.flatten(0, 1).index_select(0, self.batch_index * self.shape[1] + self.point_index)
