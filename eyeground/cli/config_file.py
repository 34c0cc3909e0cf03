"""One experiment = one YAML file; every key is checked, and an unknown one names its nearest."""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from typing_extensions import TypeVar

from eyeground.cli.config import ConfigError
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.plain_yaml import PlainDumper, PlainLoader

_VARIABLE = re.compile(r"\$\{(\w+)\}")


C = TypeVar("C", bound=BaseModel, default=FinetuneConfig)


def load_config(path: Path, overrides: Sequence[str] = (), *, kind: type[C] = FinetuneConfig) -> C:  # type: ignore[assignment]
    """Read a configuration, apply overrides, check everything.

    Args:
        path: A YAML file.
        overrides: ``key=value`` words, the value written as in YAML; ``model_options.pad_type=same`` reaches inside.
        kind: Which keys there are.

    Returns:
        The checked configuration, with ``${VAR}`` replaced from the environment.

    Raises:
        ConfigError: If anything is wrong; the message lists every problem, and the nearest key for an unknown one.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "c.yaml"
        >>> _ = path.write_text("data: images\\nepochs: 5")
        >>> load_config(path, ["epochs=7"]).epochs
        7

    References:
        torchtune's manner: the keys are a function's arguments.
    """
    values = read_values(path)
    for word in overrides:
        _override(values, word)
    return check_config(values, where=str(path), kind=kind)


def load_or_resume(
    config: Path | None, overrides: Sequence[str], resume: Path | None, *, kind: type[C], verb: str
) -> tuple[str, C]:
    """Read the configuration that a training command was given, or that of the run it goes on with.

    Args:
        config: A YAML file; None with ``resume``.
        overrides: ``key=value`` words.
        resume: Folder of an interrupted run; its own ``config.yaml`` is taken.
        kind: Which keys there are.
        verb: The command, for messages.

    Returns:
        A name for the run, and the checked configuration.

    Raises:
        ConfigError: If both or neither are given, the run keeps no configuration, or anything in it is wrong.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "c.yaml"
        >>> _ = path.write_text("data: images")
        >>> load_or_resume(path, [], None, kind=FinetuneConfig, verb="finetune")[0]
        'c'

    References:
        Our own.
    """
    if resume is None:
        if config is None:
            raise ConfigError(f"give a CONFIG, or --resume RUN; examples are in configs/{verb}/")
        return config.stem, load_config(config, overrides, kind=kind)
    if config is not None or overrides:
        raise ConfigError("--resume takes the run's own config.yaml: leave CONFIG and KEY=VALUE away")
    saved = resume / "config.yaml"
    if not saved.is_file():
        raise ConfigError(f"{resume}: no config.yaml there; give the folder that an earlier 'eyeground {verb}' made")
    return resume.name, load_config(saved, kind=kind)


def read_values(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values, not yet checked.

    Args:
        path: The file.

    Returns:
        Keys and values.

    Raises:
        ConfigError: If it cannot be read, or is no YAML of keys and values.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "c.yaml"
        >>> _ = path.write_text("data: images")
        >>> read_values(path)
        {'data': 'images'}

    References:
        Our own.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        near = ", ".join(sorted(str(p) for p in path.parent.glob("*.yaml"))[:5]) if path.parent.is_dir() else ""
        raise ConfigError(f"{path}: cannot be read ({error})." + (f" Configs there: {near}" if near else "")) from error
    try:
        values = yaml.load(text, PlainLoader) or {}  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a configuration is a list of 'key: value' lines")
    return values


def check_config(values: Mapping[str, Any], *, where: str, kind: type[C] = FinetuneConfig) -> C:  # type: ignore[assignment]
    """Check plain values.

    Args:
        values: Keys and values, as YAML gives them.
        where: What to name in messages.
        kind: Which keys there are.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: If anything is wrong, all of it at once.

    Example:
        >>> try:
        ...     check_config({"data": "x", "epoch": 3}, where="c.yaml")
        ... except ConfigError as error:
        ...     print(error)
        c.yaml: 1 problem
          epoch: unknown key; did you mean 'epochs'?

    References:
        Our own.
    """
    missing: list[str] = []
    expanded = _expand(dict(values), missing)
    problems = [f"${{{name}}}: this environment variable is not set" for name in dict.fromkeys(missing)]
    try:
        config = kind.model_validate(expanded)
    except ValidationError as error:
        details = error.errors()
        # A list whose only item is wrong counts as empty for pydantic: the item's own problem says it better.
        inner = {detail["loc"][0] for detail in details if len(detail["loc"]) > 1}
        problems += [_sentence(d, kind) for d in details if not (d["type"] == "too_short" and d["loc"][0] in inner)]
    if problems:
        count = f"{len(problems)} problem" + ("s" if len(problems) > 1 else "")
        raise ConfigError(f"{where}: {count}\n" + "\n".join(f"  {problem}" for problem in problems))
    return config


def dump_config(config: BaseModel) -> str:
    """Write a configuration as YAML, every key with its value.

    Args:
        config: A checked configuration.

    Returns:
        YAML text that ``load_config`` reads back.

    Example:
        >>> "epochs: 100" in dump_config(FinetuneConfig(data="images"))
        True

    References:
        Our own.
    """
    # Strings that another YAML reader could take for something else are quoted by the dumper's own, wider rules.
    return yaml.dump(
        config.model_dump(mode="json"),
        Dumper=PlainDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=110,
    )


def _override(values: dict[str, Any], word: str) -> None:
    """Apply one ``key=value``."""
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise ConfigError(f"{word!r} is not key=value")
    *parents, last = key.strip().split(".")
    place = values
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{key}: {parent} has no keys inside")
    try:
        place[last] = yaml.load(text, PlainLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{word!r}: the value is not YAML: {error}") from error


def _expand(value: Any, missing: list[str]) -> Any:
    """Replace ``${VAR}`` in every string."""
    if isinstance(value, str):
        missing += [name for name in _VARIABLE.findall(value) if name not in os.environ]
        return _VARIABLE.sub(lambda found: os.environ.get(found[1], ""), value)
    if isinstance(value, dict):
        return {key: _expand(inner, missing) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expand(inner, missing) for inner in value]
    return value


def _sentence(detail: Any, kind: type[BaseModel]) -> str:
    """Say one of pydantic's findings in our words."""
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _keys_at(kind, detail["loc"][:-1])
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
        return f"{where}: unknown key" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")
    message = detail["msg"].removeprefix("Value error, ")
    return f"{where and f'{where}: '}{message[0].lower() + message[1:]}" + (
        f" (got {detail['input']!r})" if where and detail["type"] != "missing" else ""
    )


def _keys_at(kind: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Known keys at a place inside a configuration: its own, or those of the items of a list in it."""
    for step in place:
        if isinstance(step, str) and step in kind.model_fields:
            inner: list[Any] = [kind.model_fields[step].annotation]
            while inner and not (isinstance(inner[0], type) and issubclass(inner[0], BaseModel)):
                inner = [*get_args(inner[0]), *inner[1:]]
            kind = inner[0] if inner else kind
    return list(kind.model_fields)
