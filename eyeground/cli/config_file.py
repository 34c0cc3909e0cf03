"""One experiment = one YAML file; every key is checked, and an unknown one names its nearest."""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from eyeground.cli.config import ConfigError, DataSource, FinetuneConfig
from eyeground.cli.plain_yaml import PlainDumper, PlainLoader

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def load_config(path: Path, overrides: Sequence[str] = ()) -> FinetuneConfig:
    """Read a configuration, apply overrides, check everything.

    Args:
        path: A YAML file.
        overrides: ``key=value`` words, the value written as in YAML; ``model_options.pad_type=same`` reaches inside.

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
    for word in overrides:
        _override(values, word)
    return check_config(values, where=str(path))


def check_config(values: Mapping[str, Any], *, where: str) -> FinetuneConfig:
    """Check plain values.

    Args:
        values: Keys and values, as YAML gives them.
        where: What to name in messages.

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
        config = FinetuneConfig.model_validate(expanded)
    except ValidationError as error:
        details = error.errors()
        # A list whose only item is wrong counts as empty for pydantic: the item's own problem says it better.
        inner = {detail["loc"][0] for detail in details if len(detail["loc"]) > 1}
        problems += [_sentence(d) for d in details if not (d["type"] == "too_short" and d["loc"][0] in inner)]
    if problems:
        count = f"{len(problems)} problem" + ("s" if len(problems) > 1 else "")
        raise ConfigError(f"{where}: {count}\n" + "\n".join(f"  {problem}" for problem in problems))
    return config


def dump_config(config: FinetuneConfig) -> str:
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


def _sentence(detail: Any) -> str:
    """Say one of pydantic's findings in our words."""
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = (
            DataSource.model_fields
            if detail["loc"][0] == "data" and len(detail["loc"]) > 1
            else FinetuneConfig.model_fields
        )
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
        return f"{where}: unknown key" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")
    message = detail["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower() + message[1:]}" + (
        f" (got {detail['input']!r})" if where and detail["type"] != "missing" else ""
    )
