"""YAML to typed dataclasses and back; what a dataclass does not know is refused with its place and the nearest name."""

import dataclasses
import difflib
import math
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that does not fit, told in one line: where, what, and what would fit."""


def load(kind: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """The dataclass `kind` from the YAML file at `path`; each override is "dotted.key=value", the value in YAML.

    Raises ConfigError with the path of the key for an unknown key, a wrong type or a value out of range.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise ConfigError(f"{path}: does not exist; give a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read as a config ({error.__class__.__name__}); give a YAML file"
        ) from None
    try:
        values = yaml.safe_load(text) or {}
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    override(values, overrides)
    return build(kind, values, path.name)


def override(values: Any, overrides: Sequence[str]) -> None:
    """Puts each "dotted.key=value", the value in YAML, into the plain `values`.

    Raises ConfigError for a key that has no place there, and for a value that is not YAML.
    """
    for text in overrides:
        _override(values, text)


def build(kind: Any, value: Any, where: str) -> Any:
    """`value`, as YAML or JSON gives it, as the type `kind`: a dataclass, a union of them told apart by `kind`, a
    tuple, a literal, a path or a plain value. `where` names the place in error messages."""
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin in (Union, types.UnionType):
        return _build_union(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: got {value!r}, expected {_one_of(arguments)}{_meant(value, arguments)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: got {value!r}, expected a list")
        inner = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
        if len(inner) != len(value):
            raise ConfigError(f"{where}: got {len(value)} entries, expected {len(inner)}")
        return tuple(build(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(inner, value, strict=True)))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: got {value!r}, expected a mapping")
        return {key: build(arguments[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if kind is Any:
        return value
    return _build_plain(kind, value, where)


def dump(config: Any) -> Any:
    """`config` as plain values for YAML or JSON, every key written out."""
    if dataclasses.is_dataclass(config):
        return {f.name: dump(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, list | tuple):
        return [dump(entry) for entry in config]
    if isinstance(config, dict):
        return {key: dump(entry) for key, entry in config.items()}
    return str(config) if isinstance(config, Path) else config


def check_range(config: Any, low: float, high: float, *names: str) -> None:
    """Raises ValueError where a field of `config` among `names` is neither None nor a number from `low` to `high`."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not low <= value <= high:  # NaN is not
            wanted = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
            raise ValueError(f"{name}: got {value}, expected {wanted}")


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: got {value!r}, expected a mapping with the keys of {kind.__name__}")
    known = {f.name: f for f in dataclasses.fields(kind)}
    for key in value:
        if key not in known:
            raise ConfigError(f"{where}.{key}: unknown key{_nearest(key, tuple(known))}")
    required = [
        name
        for name, f in known.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in value
    ]
    if required:
        raise ConfigError(f"{where}: missing key '{required[0]}'; add it")
    hints = get_type_hints(kind)
    entries = {key: build(hints[key], entry, f"{where}.{key}") for key, entry in value.items()}
    try:
        return kind(**entries)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _build_union(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    options = [a for a in arguments if a is not type(None)]
    if len(options) == 1:
        return build(options[0], value, where)
    if all(dataclasses.is_dataclass(option) for option in options):
        kinds = {get_args(get_type_hints(option)["kind"])[0]: option for option in options}
        name = value.get("kind") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in kinds:
            raise ConfigError(
                f"{where}.kind: got {name!r}, expected {_one_of(tuple(kinds))}{_meant(name, tuple(kinds))}"
            )
        return build(kinds[name], value, where)
    for option in options:
        try:
            return build(option, value, where)
        except ConfigError:
            continue
    raise ConfigError(f"{where}: got {value!r}, expected {_one_of(tuple(o.__name__ for o in options))}")


def _build_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 (no dot) as text: what is a number to everyone shall be one here.
        try:
            return float(value)
        except ValueError:
            pass
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where}: got a number of {len(str(value))} digits; give a smaller one") from None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: got {value!r}, expected {kind.__name__}")
    return value


def _override(values: Any, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: write it as key=value, as in router.steps=500")
    *parents, last = [
        int(part) if part.isdecimal() else part for part in key.replace("[", ".").replace("]", "").split(".")
    ]
    place = values
    for part in parents:
        if isinstance(place, dict):
            place = place.setdefault(part, {})
        elif isinstance(place, list) and isinstance(part, int) and part < len(place):
            place = place[part]
        else:
            raise ConfigError(f"--set {override}: there is no '{part}' to set in")
    if isinstance(place, list) and not (isinstance(last, int) and last < len(place)):
        raise ConfigError(f"--set {override}: there is no entry '{last}'; the list has {len(place)}")
    if not isinstance(place, dict | list):
        raise ConfigError(f"--set {override}: '{last}' lies in {place!r}, which has no keys")
    try:
        place[last] = yaml.safe_load(text)  # type: ignore[index]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"--set {override}: the value is not YAML: {' '.join(str(error).split())}") from None


def _one_of(names: tuple[Any, ...]) -> str:
    return " or ".join(str(name) for name in names)


def _nearest(name: Any, known: tuple[Any, ...]) -> str:
    return _meant(name, known) or f"; known: {', '.join(str(k) for k in known)}"


def _meant(name: Any, known: tuple[Any, ...]) -> str:
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f", did you mean '{near[0]}'?" if near else ""
