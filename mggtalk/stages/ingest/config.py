"""Configuration of the stage `ingest`."""

from pydantic import Field

from mggtalk.config import config


@config
class IngestConfig:
    """Group `ingest` of the params file."""

    recipe: str = "datasets/sample/recipe.yaml"
    """Path of the recipe."""
    watch: str = "datasets/sample"
    """Folder or file, besides the recipe, whose content makes DVC run the stage again."""
    val_fraction: float = Field(0.1, ge=0, lt=1)
    """Fraction of the identities in the split `val`, among those whose split the recipe leaves open; 0 to below 1."""
    test_fraction: float = Field(0.1, ge=0, lt=1)
    """The same for the split `test`; at most 1 together."""

    def __post_init__(self) -> None:
        """Check that the splits fit into the whole.

        Raises:
            ValueError: they do not.
        """
        if self.val_fraction + self.test_fraction > 1:
            raise ValueError(f"val_fraction + test_fraction: {self.val_fraction} + {self.test_fraction} is more than 1")
