"""Configuration files: YAML that says what differs from the files that it names under `_BASE_`."""

import os

import yaml

from ..utils import MissingFile, UserError, brief, read_text

BASE = "_BASE_"  # one path or a list of them, relative to the file; later ones win over earlier ones
PER_DATASET = "PER_DATASET"  # {DATASET.NAME: settings}, for values that the authors of a method set per data set


class Scalar(str):
    """A word of YAML that may be text or something else: what was written, and the `value` that YAML makes of it."""

    value: object = None


class Loader(yaml.SafeLoader):
    """YAML in which no key stands twice; PyYAML would keep the last one without a word. What looks like a truth value,
    a number or a date becomes a Scalar, as `NAME: no` and `CTX_INIT: 1e3` are meant as text."""

    def construct_object(self, node, deep=False):
        value = super().construct_object(node, deep)
        if not isinstance(node, yaml.ScalarNode) or isinstance(value, str) or value is None:
            return value
        scalar = Scalar(node.value)
        scalar.value = value
        return scalar

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise UserError(
                    f"{self.name}, line {key.start_mark.line + 1}: the key {key.value} stands twice here; "
                    "write its settings under one key"
                )
            seen.add(key.value)
        return node


def read_file(path, above=()):
    """The settings of the YAML file `path` over those of its bases -> nested dict, without `_BASE_`.

    above: the files that name this one as a base. Raises MissingFile, or UserError where a file is no YAML mapping,
    has a key twice or is its own base.
    """
    real = os.path.realpath(path)
    if real in above:
        raise UserError(f"{path} is its own {BASE}: {' -> '.join([*above, real])}")
    settings, bases = _read(path)
    merged = {}
    for base in bases:
        merged = joined(merged, read_file(base, (*above, real)))
    return joined(merged, settings)


def joined(under, over):
    """Two nested dicts as one; where both have a value, that of `over`."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = joined(merged[key], value) if both else value
    return merged


def _read(path):
    """(settings of the file alone, paths of its bases)."""
    try:
        loader = Loader(read_text(path, "a config file"))
        loader.name = path  # what complaints about a line name
        settings = loader.get_single_data()
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise UserError(f"{path} is not a YAML file of config keys: {brief(error)}") from None
    settings = {} if settings is None else settings
    if not isinstance(settings, dict):
        raise UserError(f"{path} is not a YAML file of config keys: it holds a {type(settings).__name__}")
    names = settings.pop(BASE, [])
    shown = repr(getattr(names, "value", names))
    names = [names] if type(names) is str else names
    if not isinstance(names, list) or not all(type(name) is str for name in names):
        raise UserError(f"{path}: {BASE} is {shown}; it must be one path, or a list of them")
    bases = [os.path.join(os.path.dirname(path), name) for name in names]
    for name, base in zip(names, bases):
        if not os.path.isfile(base):
            raise MissingFile(f"{path}: its {BASE} {name} does not exist ({os.path.normpath(base)})")
    return settings, bases
