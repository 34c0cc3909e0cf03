"""Where the frameworks are installed, and how a module of this package is run there."""

import importlib.util
import os
import sys
from importlib.metadata import version
from pathlib import Path

import eyeground
from eyeground.model.optimization import Framework

# The framework's own environment need not hold this package: it is taken from here, and nothing else is.
_BOOT = """
import importlib.util, runpy, sys
folder = sys.argv[1]
spec = importlib.util.spec_from_file_location("eyeground", folder + "/__init__.py", submodule_search_locations=[folder])
package = importlib.util.module_from_spec(spec)
sys.modules["eyeground"] = package
spec.loader.exec_module(package)
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


class EngineMissing(ValueError):
    """The framework is not installed where it could be found."""


def python_of(framework: Framework) -> Path:
    """Find the Python in which a framework is installed.

    Looked for in this order: the environment variable ``EYEGROUND_<FRAMEWORK>_PYTHON``, this Python, and
    ``.venv-<framework>`` beside the package, as ``make setup-<framework>`` makes it.

    Args:
        framework: ``"paddle"`` or ``"mindspore"``.

    Returns:
        The interpreter.

    Raises:
        EngineMissing: If there is none.

    Example:
        >>> os.environ["EYEGROUND_PADDLE_PYTHON"] = sys.executable
        >>> str(python_of("paddle")) == sys.executable
        True
        >>> del os.environ["EYEGROUND_PADDLE_PYTHON"]

    References:
        MindSpore 2.10 needs numpy 1.26, everything else here likes 2: hence environments of their own.
    """
    variable = f"EYEGROUND_{framework.upper()}_PYTHON"
    if said := os.environ.get(variable):
        if not Path(said).is_file():
            raise EngineMissing(f"{variable} is {said}: no such file; give the Python that {framework} is installed in")
        return Path(said)
    if importlib.util.find_spec(framework) and not (framework == "mindspore" and _has_numpy_2()):
        return Path(sys.executable)
    beside = _package().parent / f".venv-{framework}" / "bin" / "python"
    if beside.is_file():
        return beside
    if framework == "mindspore":
        install = (
            "the extra eyeground[mindspore] wants an environment of its own, because numpy 2 breaks it: "
            "pip install 'mindspore>=2.10' 'numpy<2' safetensors there"
        )
    else:
        install = f"pip install 'eyeground[{framework}]'"
    raise EngineMissing(
        f"{framework} is not installed: {install}, or 'make setup-{framework}' in a checkout; {variable} names the "
        "Python that has it"
    )


def command_of(framework: Framework, module: str, *words: str) -> list[str]:
    """Say how a module of this package is run in a framework's Python.

    Args:
        framework: Whose Python.
        module: Dotted name.
        words: Its arguments.

    Returns:
        The command.

    Raises:
        EngineMissing: If the framework is not installed.

    References:
        Our own.
    """
    return [str(python_of(framework)), "-c", _BOOT, str(_package()), module, *words]


def _has_numpy_2() -> bool:
    """Whether this Python has a numpy that MindSpore 2.10 breaks with."""
    return int(version("numpy").partition(".")[0]) >= 2


def _package() -> Path:
    """Where this package lies."""
    return Path(eyeground.__file__).resolve().parent
