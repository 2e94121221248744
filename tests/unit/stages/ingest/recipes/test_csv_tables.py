import pytest

from mggtalk.stages.ingest.recipes.csv_tables import clock_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:30", 30.0), ("01:02:03", 3723.0), ("90:00", 5400.0), ("0:0.5", 0.5), ("1:2:3:4", None), ("30", None)],
)
def test_clock_times(text: str, seconds: float | None) -> None:
    assert clock_seconds(text) == seconds
