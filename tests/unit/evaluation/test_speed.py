import pytest

from mggtalk.evaluation.speed import measure_speed
from tests.unit.evaluation import synthetic


class TimedReenactor:
    """Every call moves the clock by what the list says next."""

    resolution = 64

    def __init__(self, seconds):
        self.now = 0.0
        self.driven = []
        self._seconds = {name: iter(values) for name, values in seconds.items()}

    def clock(self):
        return self.now

    def reconstruct(self, source):
        self.now += next(self._seconds["reconstruct"])
        return "avatar"

    def render(self, avatar, expression, head_to_camera):
        self.now += next(self._seconds["render"])
        self.driven.append(head_to_camera[0, 3])

    def num_gaussians(self, avatar):
        return 77


def test_speed_is_the_median_after_the_warm_up():
    clips = synthetic.SyntheticClips()
    reenactor = TimedReenactor({"reconstruct": [0.0, 9.0, 0.2, 0.1, 0.9], "render": [9.0, 0.02, 0.01, 0.5]})
    speed = measure_speed(
        reenactor,
        clips.source_frame("clip", 0, 64),
        clips.frames[1:3],
        warmup=1,
        repeats=3,
        device="cpu",
        threads=2,
        clock=reenactor.clock,
    )
    assert speed.reconstruct_ms == pytest.approx(200.0)
    assert speed.animate_render_fps == pytest.approx(50.0)
    assert reenactor.driven == [1.0, 2.0, 1.0, 2.0]
    assert (speed.num_gaussians, speed.resolution, speed.batch, speed.device, speed.threads) == (77, 64, 1, "cpu", 2)


def test_nothing_to_drive_is_refused():
    source = synthetic.SyntheticClips().source_frame("clip", 0, 64)
    with pytest.raises(ValueError, match="got 0 drivers"):
        measure_speed(TimedReenactor({}), source, [], warmup=0, repeats=1, device="cpu", threads=1)
