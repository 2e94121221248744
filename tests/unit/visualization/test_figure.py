import numpy as np
import pytest

from mggtalk.visualization.figure import INK, PAPER, Panel, Part, Scale, Swatch, draw_figure

RED, GREEN = (200, 0, 0), (0, 200, 0)
RAMP = np.array([[0, 0, 80], [0, 0, 255]], np.uint8)


def flat(color, size=80):
    return np.full((size, size, 3), color, np.uint8)


def pixels_of(figure, color):
    """Return rows and columns of the pixels of a colour."""
    return np.nonzero((figure == color).all(axis=-1))


def test_panels_stand_in_rows_and_keep_their_pixels():
    panels = [Panel(str(number), [], flat((10 + number, 0, 0))) for number in range(3)]
    figure = draw_figure("title", [], panels, 2)
    corners = {}
    for number in range(3):
        rows, columns = pixels_of(figure, (10 + number, 0, 0))
        assert len(rows) == 80 * 80
        corners[number] = rows.min(), columns.min()
    assert corners[0][0] == corners[1][0] < corners[2][0] - 80
    assert corners[0][1] == corners[2][1] < corners[1][1] - 80


def test_captions_hold_text_swatches_and_bars_below_their_panel():
    bare = draw_figure("", [], [Panel("", [], flat(RED, 300))], 1)
    caption: list[Part] = ["text", Swatch(GREEN, "green"), Scale(RAMP, "1", "2 cm")]
    figure = draw_figure("", [], [Panel("", caption, flat(RED, 300))], 1)
    assert figure.shape == bare.shape
    below = pixels_of(figure, RED)[0].max()
    assert pixels_of(figure, GREEN)[0].min() > below
    blue = (figure[..., 2] > 60) & (figure[..., :2] == 0).all(axis=-1)
    rows, columns = np.nonzero(blue)
    assert rows.min() > below
    assert figure[rows[0], columns.min(), 2] < 100
    assert figure[rows[0], columns.max(), 2] > 240
    changed = np.nonzero((figure != bare).any(axis=(0, 2)))[0]
    assert changed.min() < pixels_of(figure, GREEN)[1].min()  # the text


@pytest.mark.parametrize("text", ["m" * 300, "a word " * 60, "ü·" * 200])
def test_text_that_is_too_long_loses_its_middle_and_stays_on_the_paper(text):
    figure = draw_figure(text, [text], [Panel("", [text], flat(RED, 200))], 1)
    assert (figure[:, :20] == PAPER).all()
    assert (figure[:, -20:] == PAPER).all()
    ends = draw_figure(f"{text}end", [], [Panel("", [], flat(RED, 200))], 1)
    dots = draw_figure(f"{text}...", [], [Panel("", [], flat(RED, 200))], 1)
    assert not np.array_equal(ends, dots)


@pytest.mark.parametrize(
    "part", ["many words " * 20, Swatch(GREEN, "many words " * 20), Scale(RAMP, "low " * 20, "high")]
)
@pytest.mark.parametrize("before", [[], ["some words"], ["many words " * 20]])
def test_a_caption_stays_under_its_own_panel(part, before):
    neighbour = Panel("", ["caption"], flat(RED))
    alone, beside = (
        draw_figure("", [], [Panel("", shown, flat(RED)), neighbour], 2) for shown in ([], [*before, part])
    )
    changed = np.nonzero((alone != beside).any(axis=(0, 2)))[0]
    assert changed.max() < pixels_of(alone, RED)[1].min() + 80


def test_the_title_is_ink_on_paper():
    figure = draw_figure("Title", [], [Panel("", [], flat(RED))], 1)
    rows, _ = pixels_of(figure, INK)
    assert rows.size
    assert rows.max() < pixels_of(figure, RED)[0].min() + 80 + 30
    assert tuple(figure[0, 0]) == PAPER
