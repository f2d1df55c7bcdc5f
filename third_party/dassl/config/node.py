"""A yacs config whose complaints name the key that was meant."""

import yaml
from yacs.config import CfgNode

from ..utils import MissingFile, UnknownName, UserError, nearest


class Config(CfgNode):
    """A CfgNode that raises a UserError for an unknown key, a value of the wrong type or an unreadable file.

    Only the root is a Config: yacs merges nodes of equal type, and train scripts add plain nodes below the root.
    """

    @classmethod
    def _decode_cfg_value(cls, value):
        return CfgNode._decode_cfg_value(value)  # what a merge makes of a dict: a plain node

    def merge_from_file(self, cfg_filename):
        try:
            with open(cfg_filename, encoding="utf-8") as file:
                other = CfgNode.load_cfg(file)
        except FileNotFoundError:
            raise MissingFile(f"expected a config file at {cfg_filename}, found none") from None
        except (yaml.YAMLError, AttributeError, AssertionError, ValueError) as error:
            raise UserError(f"{cfg_filename} is not a YAML file of config keys: {error}") from None
        self._check_keys(_leaves(other), cfg_filename)
        _as_floats(other, self)
        try:
            self.merge_from_other_cfg(other)
        except ValueError as error:
            raise UserError(f"{cfg_filename}: {error}") from None

    def merge_from_list(self, cfg_list):
        if len(cfg_list) % 2:
            raise UserError(
                f"config options come as pairs of KEY and value, got {len(cfg_list)} words: {list(cfg_list)}"
            )
        self._check_keys(cfg_list[0::2], "the command line")
        cfg_list = list(cfg_list)
        for i in range(0, len(cfg_list), 2):
            if type(self._value(cfg_list[i])) is float and type(CfgNode._decode_cfg_value(cfg_list[i + 1])) is int:
                cfg_list[i + 1] = float(cfg_list[i + 1])
        try:
            super().merge_from_list(cfg_list)
        except ValueError as error:
            raise UserError(f"config options: {error}") from None

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
        names += _leaves(value, f"{prefix}{key}.") if isinstance(value, CfgNode) else [prefix + key]
    return names


def _as_floats(node, like):
    """Makes whole numbers in `node` floats where `like` has a float (yacs takes `LR: 1` for another type than 0.1)."""
    for key, value in node.items():
        if isinstance(value, CfgNode) and isinstance(like.get(key), CfgNode):
            _as_floats(value, like[key])
        elif type(value) is int and type(like.get(key)) is float:
            node[key] = float(value)
