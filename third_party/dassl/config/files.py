"""Configuration files: YAML that says what differs from the files it names under `_BASE_`."""

import os
from copy import deepcopy

import yaml

from ..utils import MissingFile, UserError

BASE = "_BASE_"  # one path or a list of them, relative to the file; later ones win over earlier ones
PER_DATASET = "PER_DATASET"  # {DATASET.NAME: settings}, for values that the authors of a method set per data set


def read_file(path, below=()):
    """The settings of the YAML file `path`, those of its bases underneath -> nested dict, `_BASE_` resolved.

    Raises MissingFile, or UserError where a file is no YAML mapping or is its own base.
    """
    real = os.path.realpath(path)
    if real in below:
        raise UserError(f"{path} is its own {BASE}: {' -> '.join([*below, real])}")
    settings = _mapping(path)
    bases = settings.pop(BASE, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"{path}: {BASE} is {bases!r}; it must be one path, or a list of them")
    merged = {}
    for base in bases:
        found = os.path.join(os.path.dirname(path), base)
        if not os.path.isfile(found):
            raise MissingFile(f"{path}: its {BASE} {base} does not exist ({os.path.normpath(found)})")
        merged = joined(merged, read_file(found, (*below, real)))
    return joined(merged, settings)


def _mapping(path):
    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.safe_load(file)
    except FileNotFoundError:
        raise MissingFile(f"expected a config file at {path}, found none") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the config file {path} cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a YAML file of config keys: {' '.join(str(error).split())[:300]}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a YAML file of config keys: it holds a {type(found).__name__}")
    return found


def joined(under, over):
    """Two nested dicts as one; where both have a value, that of `over`."""
    found = deepcopy(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = joined(found[key], value) if both else deepcopy(value)
    return found
