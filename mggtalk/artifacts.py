"""Names the folders below `artifacts/` that the stages read and write."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The folders that the stages write, below one root.

    Attributes:
        root: of all folders, or only of model, training and evaluation.
        data_root: of videos, tracks and shards where several models share them; default: `root`.
    """

    root: Path
    data_root: Path | None = None

    @property
    def videos(self) -> Path:
        """Tables of `ingest`, and media taken out of archives."""
        return self._data / "videos"

    @property
    def tracks(self) -> Path:
        """Tables of `track`, and a track file for every video."""
        return self._data / "tracks"

    @property
    def shards(self) -> Path:
        """The data set."""
        return self._data / "shards"

    @property
    def model(self) -> Path:
        """The trained predictor."""
        return self.root / "model"

    @property
    def training(self) -> Path:
        """Metrics of the training."""
        return self.root / "training"

    @property
    def evaluation(self) -> Path:
        """Metrics, plots and the report."""
        return self.root / "evaluation"

    def staging(self, stage: str) -> Path:
        """Return the folder that an unfinished run of a stage continues from; no output, and safe to delete."""
        return self.root / ".staging" / stage

    @property
    def _data(self) -> Path:
        return self.data_root or self.root
