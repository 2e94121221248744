from mggtalk import heartbeat


def test_every_beat_reaches_the_listener():
    beats: list[int] = []
    heartbeat.beat()  # nobody listens yet: no harm
    heartbeat.listen(lambda: beats.append(1))
    try:
        heartbeat.beat()
        heartbeat.beat()
    finally:
        heartbeat.listen(lambda: None)
    assert len(beats) == 2
