"""Configuration files: YAML that says what differs from the files it names under `_BASE_`."""

import os
from copy import deepcopy

import yaml

from ..utils import MissingFile, UserError, brief, read_text

BASE = "_BASE_"  # one path or a list of them, relative to the file; later ones win over earlier ones
PER_DATASET = "PER_DATASET"  # {DATASET.NAME: settings}, for values that the authors of a method set per data set
LIMIT, NODES, DEPTH = 1 << 20, 10_000, 40  # bytes; values, those behind each alias counted again; levels


def read_file(path, below=()):
    """The settings of the YAML file `path`, those of its bases underneath -> nested dict, `_BASE_` resolved.

    Raises MissingFile, or UserError where a file is no YAML mapping or is its own base. Python files are not run.
    """
    settings, real = _mapping(path), os.path.realpath(path)
    if real in below:
        raise UserError(f"{path} is its own {BASE}: {' -> '.join([*below, real])}")
    merged = {}
    for base in _bases(path, settings.pop(BASE, [])):
        merged = joined(merged, read_file(base, (*below, real)))
    return joined(merged, settings)


def with_bases(path):
    """The paths of a file that `read_file` has read, and of those underneath it."""
    return [path, *(file for base in _bases(path, _mapping(path).get(BASE, [])) for file in with_bases(base))]


def _bases(path, named):
    """Paths of the bases that the file `path` names."""
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, list) or not all(isinstance(base, str) for base in named):
        raise UserError(f"{path}: {BASE} is {named!r}; it must be one path, or a list of them")
    found = [os.path.join(os.path.dirname(path), base) for base in named]
    for base, file in zip(named, found, strict=True):
        if not os.path.isfile(file):
            raise MissingFile(f"{path}: its {BASE} {base} does not exist, or is no file ({os.path.normpath(file)})")
    return found


def _mapping(path):
    if str(path).endswith(".py"):
        raise UserError(f"the config file {path} is a Python file, which is not run; expected YAML, such as x.yaml")
    text = read_text(path, "a config file", LIMIT)
    try:
        loader = yaml.SafeLoader(text)
        loader.name = path  # what complaints about a line name
        node = loader.get_single_node()
        _check_size(node, path, {})
        found = loader.construct_document(node) if node else None
    except (yaml.YAMLError, ArithmeticError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a YAML file of config keys: {brief(error)}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a YAML file of config keys: it holds a {type(found).__name__}")
    return found


def _check_size(node, path, sizes, depth=0):
    """How many values `node` is once its aliases are written out. UserError for one that holds itself, or far too many:
    nine lines of aliases can stand for a thousand million values."""
    where = f"{path}, line {node.start_mark.line + 1}" if node else path
    if sizes.get(node, 0) is None:
        raise UserError(f"{where}: an alias stands inside what it names; write the values out")
    if node not in sizes:
        sizes[node] = None  # while its parts are looked at
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        below = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
        sizes[node] = 1 + sum(_check_size(one, path, sizes, depth + 1) for one in below)
    if sizes[node] > NODES or depth > DEPTH:
        raise UserError(
            f"{where}: more than {NODES} values or {DEPTH} levels, aliases written out; no config is so large"
        )
    return sizes[node]


def joined(under, over):
    """Two nested dicts as one; where both have a value, that of `over`."""
    found = deepcopy(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = joined(found[key], value) if both else deepcopy(value)
    return found
