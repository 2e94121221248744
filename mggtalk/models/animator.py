"""Drives a reconstructed head frame after frame, without the cost of launching each small operation.

On CUDA the work before the rasteriser and the work after it are each recorded once as a CUDA graph and replayed.
gsplat sizes its buffers by the data, so it runs between the two graphs.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mggtalk.models.batches import DriverBatch
from mggtalk.models.predictor import Avatar, TalkingHeadPredictor
from mggtalk.rendering.gaussians import Gaussians

_WARM_UP = 3
"""Runs before a recording, in which libraries choose algorithms and allocate memory (torch's documentation)."""


class CudaGraph:
    """A function of tensors, recorded with the shapes of its examples."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], *examples: Tensor) -> None:
        self._inputs = [example.clone() for example in examples]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function(*self._inputs)

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return the function's values, in memory that the next call overwrites.

        Raises:
            ValueError: a value has another shape than its example.
        """
        for recorded, value in zip(self._inputs, values, strict=True):
            if value.shape != recorded.shape:
                raise ValueError(f"recorded for {tuple(recorded.shape)}, got {tuple(value.shape)}")
            recorded.copy_(value)
        self._graph.replay()
        return self._outputs


class Animator:
    """A predictor and a batch of heads to drive; all frames have the batch's size.

    The first frame on a GPU records the graphs, and takes longer. They hold the addresses of weights and points, so the
    predictor must stay on its device.
    """

    def __init__(self, predictor: TalkingHeadPredictor, avatar: Avatar) -> None:
        self._predictor = predictor
        self._avatar = avatar
        self._graphs: tuple[CudaGraph, CudaGraph] | None = None

    @torch.no_grad()
    def __call__(self, driver: DriverBatch) -> Float[Tensor, "batch 3 height width"]:
        """Return the final images under these expressions and poses; on CUDA the next call overwrites them."""
        if not driver.expression.is_cuda:
            driven = self._predictor.animate(self._avatar, driver.expression)
            return self._predictor.compose(self._avatar, driven, driver)
        with torch.cuda.device(driver.expression.device):
            if self._graphs is None:
                self._graphs = self._record(driver)
            animate, inpaint = self._graphs
            rendered, alpha = self._render(animate(driver.expression), driver)
            return inpaint(rendered, alpha, driver.expression, driver.head_to_camera, driver.intrinsics)[0]

    def animate(self, expression: Float[Tensor, "batch num_coefficients"]) -> tuple[Tensor, ...]:
        """Return the children's means, rotations, scales, opacities and colours."""
        children = self._predictor.densify(self._avatar, self._predictor.animate(self._avatar, expression))
        return children.means, children.rotations, children.scales, children.opacities, children.colors

    def _render(self, gaussians: tuple[Tensor, ...], driver: DriverBatch) -> tuple[Tensor, Tensor]:
        return self._predictor.render(Gaussians(*gaussians), driver)

    def _inpaint(self, rendered: Tensor, alpha: Tensor, *driver: Tensor) -> tuple[Tensor]:
        seen = DriverBatch(*driver)
        condition_masks = self._predictor.render_condition_masks(self._avatar, seen)
        return (self._predictor.inpaint(self._avatar, rendered, alpha, condition_masks, seen.expression),)

    def _record(self, driver: DriverBatch) -> tuple[CudaGraph, CudaGraph]:
        animate = CudaGraph(self.animate, driver.expression)
        rendered, alpha = self._render(animate(driver.expression), driver)
        seen = driver.expression, driver.head_to_camera, driver.intrinsics
        return animate, CudaGraph(self._inpaint, rendered, alpha, *seen)
