"""Layout of stored frames on the screen: rotated by the display matrix, with pixels that need not be square."""

from dataclasses import dataclass
from fractions import Fraction

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mggtalk.errors import VideoError

# Ratios this close to 1 come from rounding: scalers write 405:406. The widest known is 64:33 (PAL 16:9 at 352 px).
_SQUARE = (Fraction(99, 100), Fraction(100, 99))
_MOST_STRETCHED = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """Display size and rotation of the frames of a video.

    Attributes:
        width, height: of a stored frame with its pixels made square by stretching, never by shrinking.
        rotation: degrees counter-clockwise that make it upright: 0, 90, 180 or 270.
        is_stretched: whether the stored pixels are not square.
    """

    width: int
    height: int
    rotation: int
    is_stretched: bool

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the upright frame."""
        return (self.width, self.height) if self.rotation % 180 == 0 else (self.height, self.width)


def layout_of(stream: VideoStream, first: VideoFrame, path: str) -> Layout:
    """Return the layout that the stream states; `first` is its first frame.

    Raises:
        VideoError: the rotation is no multiple of 90 degrees, or the pixels are stretched more than 1:4.
    """
    if first.rotation % 90:
        raise VideoError(f"{path}: rotated by {first.rotation} degrees; expected a multiple of 90")
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if not Fraction(1, _MOST_STRETCHED) <= aspect <= _MOST_STRETCHED:
        raise VideoError(f"{path}: pixels of {aspect.numerator}:{aspect.denominator}; expected from 1:4 to 4:1")
    if _SQUARE[0] < aspect < _SQUARE[1]:
        return Layout(first.width, first.height, first.rotation % 360, is_stretched=False)
    width = round(first.width * aspect) if aspect > 1 else first.width
    height = round(first.height / aspect) if aspect < 1 else first.height
    return Layout(width, height, first.rotation % 360, is_stretched=True)
