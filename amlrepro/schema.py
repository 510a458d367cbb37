"""Strict schemas: the base class of all configuration classes, YAML, `--set`, and what a user is told of a mistake.

Imported by `config` and by everything that has a schema of its own; never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from amlrepro.errors import UserError, nearest

SchemaT = TypeVar("SchemaT", bound=BaseModel)


class Strict(BaseModel):
    """Base of all configuration classes: frozen, no unknown keys, no silent conversion (int to float excepted)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


def nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`; nested mappings may be mixed in."""
    out: dict[str, Any] = {}
    for key, value in dotted.items():
        node: Any = nest(value) if isinstance(value, Mapping) else value
        for part in reversed(key.split(".")):
            node = {part: node}
        out = merge(out, node)
    return out


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge of two nested mappings; `over` wins."""
    out = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(out.get(key), Mapping):
            out[key] = merge(out[key], value)
        else:
            out[key] = value
    return out


def parse_strict(schema: type[SchemaT], values: Mapping[str, Any], where: object) -> SchemaT:
    """Check `values` against any strict schema, with the project's error messages."""
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        raise _explain(schema, error, where) from None


# Safe YAML, on libyaml (many times faster) where that is there.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(path: Path) -> Any:
    """Safe-load a YAML file; raises `UserError` when it is missing or does not parse."""
    if not path.is_file():
        raise UserError("no such file" if not path.exists() else "not a file", where=path)
    return parse_yaml(path.read_text("utf-8"), path)


def parse_yaml(text: str, where: object) -> Any:
    """Safe-load a YAML text; raises `UserError` with the place `where` when it does not parse."""
    try:
        return yaml.load(text, Loader=_SafeLoader)
    except yaml.YAMLError as error:
        raise UserError("not a YAML file", where=where, found=str(error).replace("\n", " ")) from error


def parse_set(assignments: list[str]) -> dict[str, Any]:
    """`["afm.tau=0.3"]` as `{"afm.tau": 0.3}`; values are read as YAML scalars or lists."""
    out: dict[str, Any] = {}
    for text in assignments:
        key, sep, value = text.partition("=")
        if not sep or not key.strip():
            raise UserError("--set takes key=value", found=text, expected="for example --set afm.tau=0.3")
        try:
            out[key.strip()] = yaml.safe_load(_number_like(value))
        except yaml.YAMLError as error:
            raise UserError("--set value does not parse", where=key, found=value) from error
    return out


def _number_like(value: str) -> str:
    """YAML 1.1 reads `1e-4` as text; write such numbers the way it takes for floats."""
    try:
        number = float(value)
    except ValueError:
        return value
    return value if value.lstrip("+-").isdigit() else repr(number)


def _explain(schema: type[BaseModel], error: ValidationError, where: object) -> UserError:
    # A misspelt key is both unknown and missing under its right name; the first says more.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    location = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *parents, key = (str(part) for part in first["loc"])
        choices = _fields_at(schema, parents)
        best = nearest(key, choices, 1)
        full = ".".join([*parents, best[0]]) if best else "another key"
        return UserError(f"unknown key {location!r}", where=where, hint=f"did you mean {full!r}?")
    found = repr(first.get("input"))
    return UserError(f"{location}: {first['msg'][0].lower()}{first['msg'][1:]}", where=where, found=found)


def _fields_at(schema: type[BaseModel], parents: list[str]) -> list[str]:
    """Keys that may stand below `parents`; positions in lists, keys of mappings and tags of unions are passed over."""
    here = [schema]
    for part in parents:
        below = [m for s in here if part in s.model_fields for m in _schemas_in(s.model_fields[part].annotation)]
        here = below or here
    return list(dict.fromkeys(key for s in here for key in s.model_fields))


def _schemas_in(annotation: Any) -> list[type[BaseModel]]:
    """The schemas that occur in a type: itself, or within a list, mapping, union or annotation."""
    parts = get_args(annotation)
    if not parts and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [schema for part in parts for schema in _schemas_in(part)]
