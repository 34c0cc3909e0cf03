"""The data of a run that is over, opened again: the same images in the same splits, or an error."""

from pathlib import Path

from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import load_config
from eyeground.cli.dataset import Dataset, open_dataset
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.objective import heads_of
from eyeground.cli.recipe import preprocessing_of

_CONFIGS = ("config.yaml", "merged_from.yaml")


def config_of_run(run: Path) -> FinetuneConfig | None:
    """Read what a run was made with.

    Args:
        run: Its folder, or that of a merged run.

    Returns:
        Its configuration; None where it keeps none.

    Raises:
        ConfigError: If it cannot be read.

    Example:
        >>> config_of_run(Path("nowhere")) is None
        True

    References:
        docs/run.md for the files.
    """
    found = next((run / name for name in _CONFIGS if (run / name).is_file()), None)
    return load_config(found) if found else None


def data_of_run(run: Path) -> Dataset:
    """Open the images that a run was made with, in its own splits.

    Args:
        run: Its folder, or that of a merged run.

    Returns:
        The data set.

    Raises:
        ConfigError: If the run does not keep its configuration and split.
        DataProblems: If images are gone, or are others now; all are listed.

    Example:
        >>> data_of_run(Path("nowhere"))
        Traceback (most recent call last):
        eyeground.cli.config.ConfigError: nowhere: keeps no configuration and split, so its images cannot be found again

    References:
        docs/run.md for the files.
    """
    config, split = config_of_run(run), run / "split.csv"
    if config is None or not split.is_file():
        raise ConfigError(f"{run}: keeps no configuration and split, so its images cannot be found again")
    return open_dataset(
        config.data,
        preprocessing=preprocessing_of(config),
        classes=config.classes,
        ordered=config.graded,
        split=str(split),
        split_seed=config.split_seed,
        val_fraction=config.val_fraction,
        slices=config.slices,
        heads=heads_of(config),
    )
