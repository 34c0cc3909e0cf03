"""Bundles opened as graders of the clinic."""

from collections.abc import Sequence
from pathlib import Path

from eyeground.cli.config import ConfigError
from eyeground.cli.exit_codes import kind_of
from eyeground.clinic.grader import Grader
from eyeground.clinic.settings import Settings


def open_graders(settings: Settings, *, threads: int = 1) -> list[Grader]:
    """Open every bundle that is installed.

    Args:
        settings: Their ``bundle`` and ``heat_maps`` are used.
        threads: Processor threads of one process; 0 = the runtime's choice.

    Returns:
        A grader for each; none where none is installed, so that every case says so.

    Raises:
        ConfigError: If one is no bundle, or answers nothing that the clinic asks; all are named.
        BundleRefused: If one is not as it was packed.

    References:
        docs/clinic.md.
    """
    if not settings.bundle:
        return []
    from eyeground.serve.bundle import is_bundle  # what needs torch is loaded where there is a model

    wrong = [
        f"{folder}: not a bundle; make one with: eyeground export RUN --out {folder}"
        for folder in settings.bundle
        if not is_bundle(folder)
    ]
    graders: list[Grader] = []
    for folder in [] if wrong else settings.bundle:
        try:
            graders.append(_open(folder, heat_maps=settings.heat_maps, threads=threads))
        except ValueError as error:
            if kind_of(error):
                raise
            wrong.append(f"{folder}: {error}")
    if wrong:
        close_graders(graders)
        raise ConfigError("\n".join(wrong))
    return graders


def close_graders(graders: Sequence[Grader]) -> None:
    """Close them.

    Args:
        graders: As ``open_graders`` gave them.

    References:
        Our own.
    """
    for grader in graders:
        grader.close()


def _open(folder: Path, *, heat_maps: bool, threads: int) -> Grader:
    """One bundle; answers and maps come from one network."""
    from eyeground.cli.explaining import open_explainable
    from eyeground.cli.opened import open_predictor
    from eyeground.clinic.bundle_grader import BundleGrader
    from eyeground.serve.engine_runtime import EngineRuntime
    from eyeground.serve.looking import Looker
    from eyeground.serve.predictor import Predictor

    if not heat_maps:
        predictor = open_predictor(folder, threads=threads, batch_size=1)
        return BundleGrader(predictor, look=None, title=_title(folder, predictor.id))
    opened = open_explainable(folder, threads=threads)
    predictor = Predictor(
        opened.contract, EngineRuntime(opened.engine, opened.contract.task), id=opened.id, batch_size=1
    )
    return BundleGrader(predictor, look=Looker(opened.contract, opened.engine).explain, title=_title(folder, opened.id))


def _title(folder: Path, bundle: str) -> str:
    """Name and version as reports show them."""
    return f"{folder.resolve().name} ({bundle[:12]})"
