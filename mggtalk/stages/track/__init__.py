"""Stage `track`: turns videos into clips of one face, with landmarks, pose and expression."""
