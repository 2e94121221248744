"""`mggtalk inspect` of shards behind a URL."""

import cv2
import numpy as np

from benchmarks.range_server import serving
from mggtalk.cli.main import main
from mggtalk.shards import Shards
from mggtalk.visualization.inspection import draw_inspection, widest_turned
from tests.support.synthetic_head import make_talking_clip, write_talking_shards

ADA = "0123456789abcdef-f000000"


def test_shards_behind_a_url_are_drawn_like_those_on_disk(tmp_path, monkeypatch, capsys):
    root = tmp_path / "shards"
    write_talking_shards(root, [make_talking_clip(ADA, size=32, num_frames=5)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MGGTALK_CACHE", str(tmp_path / "cache"))
    with serving(root) as server:
        assert main(["inspect", f"--shards={server.url}", "0123"]) == 0
    frame = widest_turned(Shards(root), ADA)
    drawn = cv2.imread(str(tmp_path / capsys.readouterr().out.strip()), cv2.IMREAD_COLOR_RGB)
    assert drawn is not None
    assert np.array_equal(drawn, draw_inspection(Shards(root), ADA, frame))
