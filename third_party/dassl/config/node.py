"""A yacs config whose complaints name the key that was meant."""

from yacs.config import CfgNode

from ..utils import UnknownName, UserError, brief, nearest
from .files import PER_DATASET, Scalar, read_file

TEXTS = ("DATASET.TEMPLATE",)  # keys of text whose default is no text


class Config(CfgNode):
    """A CfgNode that raises a UserError for an unknown key, a value of the wrong type or an unreadable file.

    Only the root is a Config: yacs merges nodes of equal type, and train scripts add plain nodes below the root.
    """

    @classmethod
    def _decode_cfg_value(cls, value):
        return CfgNode._decode_cfg_value(value)  # what a merge makes of a dict: a plain node

    def merge_from_file(self, cfg_filename):
        """Merges a YAML file, its `_BASE_` underneath, its `PER_DATASET` for the DATASET.NAME in force on top."""
        settings = read_file(cfg_filename)
        per_dataset = settings.pop(PER_DATASET, {})
        if not isinstance(per_dataset, dict) or not all(isinstance(part, dict) for part in per_dataset.values()):
            raise UserError(f"{cfg_filename}: {PER_DATASET} must map a data set's DATASET.NAME to its settings")
        self._merge_settings(settings, cfg_filename)
        for name, settings in per_dataset.items():
            where = f"{cfg_filename}, {PER_DATASET} {name}"
            if name == self.DATASET.NAME:
                self._merge_settings(settings, where)
            else:  # of the other data sets the keys are checked all the same
                self._check_keys(_leaves(CfgNode(_typed(settings, self))), where)

    def _merge_settings(self, settings, source):
        """Merges a nested dict; complaints name `source`."""
        try:
            other = CfgNode(_typed(settings, self))
        except (AttributeError, AssertionError, TypeError, ValueError) as error:
            raise UserError(f"{source} is not a YAML file of config keys: {brief(error)}") from None
        self._check_keys(_leaves(other), source)
        try:
            _as_known(other, self)
            self.merge_from_other_cfg(other)
        except (KeyError, ValueError) as error:  # KeyError: a key with a dot in it
            raise UserError(f"{source}: {brief(error)}") from None

    def merge_from_list(self, cfg_list):
        if len(cfg_list) % 2:
            raise UserError(
                f"config options come as pairs of KEY and value, got {len(cfg_list)} words: {list(cfg_list)}"
            )
        self._check_keys(cfg_list[0::2], "the command line")
        cfg_list = list(cfg_list)
        try:
            for i in range(0, len(cfg_list), 2):
                key, known = cfg_list[i], self._value(cfg_list[i])
                is_text = isinstance(cfg_list[i + 1], str) and (isinstance(known, str) or key in TEXTS)
                cfg_list[i + 1] = _quoted(cfg_list[i + 1]) if is_text else _like(cfg_list[i + 1], known, key)
            super().merge_from_list(cfg_list)
        except ValueError as error:
            raise UserError(f"config options: {brief(error)}") from None

    def _value(self, key):
        """The value of a dotted key; None for one that does not exist yet."""
        node = self
        for part in key.split("."):
            node = node.get(part) if isinstance(node, CfgNode) else None
        return node

    def _check_keys(self, keys, source):
        """UnknownName for the first dotted key that this config does not have."""
        for key in keys:
            node = self
            for part in key.split("."):
                if isinstance(node, CfgNode) and node.is_new_allowed():
                    break
                if not isinstance(node, CfgNode) or part not in node:
                    close = ", ".join(nearest(key, _leaves(self))[:5])
                    raise UnknownName(f"unknown config key {key} ({source}); nearest known keys: {close}")
                node = node[part]


def _leaves(node, prefix=""):
    """Dotted names of all values below `node`."""
    names = []
    for key, value in node.items():
        names += _leaves(value, f"{prefix}{key}.") if isinstance(value, CfgNode) else [f"{prefix}{key}"]
    return names


def _quoted(text):
    """A word of the command line, such as 1e3 or None, so that yacs takes it for text. A list in brackets stays one."""
    return text if text.startswith(("[", "(", "'", '"')) else repr(text)


def _typed(settings, like):
    """`settings`, each Scalar as text where `like` has text in its place, else as the value that it looks like."""
    if isinstance(settings, dict):
        return {
            key: _typed(value, like.get(key) if isinstance(like, dict) else None) for key, value in settings.items()
        }
    if isinstance(settings, list):
        of_texts = isinstance(like, (list, tuple)) and like and all(isinstance(text, str) for text in like)
        return [_typed(value, "" if of_texts else None) for value in settings]
    if isinstance(settings, Scalar):
        return str(settings) if isinstance(like, str) else settings.value
    return settings


def _as_known(node, like):
    """Makes values in `node` of the types that they have in `like`, where that is no guess."""
    for key, value in node.items():
        if isinstance(value, CfgNode) and isinstance(like.get(key), CfgNode):
            _as_known(value, like[key])
        elif not isinstance(value, CfgNode):
            both_text = isinstance(value, str) and isinstance(like.get(key), str)
            node[key] = repr(value) if both_text else _like(value, like.get(key), key)  # yacs reads literals in texts


def _like(value, known, key):
    """`value`, a whole number as a float where `known` is one (yacs takes `LR: 1` for another type than 0.1), a text as
    a list of one where `known` is a list of texts. ValueError where it cannot be taken for a value of `key`."""
    decoded = CfgNode._decode_cfg_value(value)
    if decoded is None and isinstance(known, (bool, int, float, list, tuple)):
        raise ValueError(f"the value of {key} is missing; expected one like {known}")
    if type(decoded) is int and type(known) is float:
        return float(decoded)
    if isinstance(decoded, str) and isinstance(known, (list, tuple)) and all(isinstance(text, str) for text in known):
        return type(known)([decoded])
    return value
