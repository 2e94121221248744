import torch

from mggtalk.models.batches import TrackBatch
from mggtalk.training.init_blendshapes import fit_blendshapes

PAIRS, LANDMARKS, COEFFICIENTS = 300, 100, 5


def some_tracks(truth: torch.Tensor, noise_cm: float = 0.0) -> TrackBatch:
    """Return pairs whose landmarks move as `truth` says."""
    generator = torch.Generator().manual_seed(0)
    source, target = torch.rand(2, PAIRS, COEFFICIENTS, generator=generator)
    landmarks = torch.randn(PAIRS, LANDMARKS, 3, generator=generator)
    moved = landmarks + torch.einsum("lkc,pc->plk", truth, target - source)
    return TrackBatch(landmarks, moved + noise_cm * torch.randn(moved.shape, generator=generator), source, target)


def some_blendshapes() -> torch.Tensor:
    return torch.randn(LANDMARKS, 3, COEFFICIENTS, generator=torch.Generator().manual_seed(1))


def test_landmarks_that_move_linearly_are_explained():
    truth = some_blendshapes()
    torch.testing.assert_close(fit_blendshapes(some_tracks(truth)), truth, atol=0.03, rtol=0)


def test_noise_evens_out_and_a_few_wild_pairs_have_no_say():
    truth = some_blendshapes()
    tracks = some_tracks(truth, noise_cm=0.05)
    tracks.target_landmarks[::10, 7] += 5.0
    assert (fit_blendshapes(tracks) - truth).abs().max() < 0.1


def test_a_coefficient_that_never_changes_moves_nothing():
    truth = some_blendshapes()
    tracks = some_tracks(truth)
    tracks.target_expression[:, 2] = tracks.source_expression[:, 2]
    fitted = fit_blendshapes(tracks)
    assert (fitted[..., 2] == 0).all()
    assert (fitted[..., 0] != 0).all()


def test_parts_count_as_one():
    tracks = some_tracks(some_blendshapes(), noise_cm=0.05)
    halves = [
        TrackBatch(
            tracks.source_landmarks[part],
            tracks.target_landmarks[part],
            tracks.source_expression[part],
            tracks.target_expression[part],
        )
        for part in (slice(0, 120), slice(120, None))
    ]
    torch.testing.assert_close(fit_blendshapes(*halves), fit_blendshapes(tracks))
