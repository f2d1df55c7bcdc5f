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
        try:
            super().merge_from_list(cfg_list)
        except ValueError as error:
            raise UserError(f"config options: {error}") from None

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
