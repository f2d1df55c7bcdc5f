"""A small runtime with the public API of Dassl 0.6.3, as far as CoOp-style code uses it.

Written for this project; see the README beside this file for what it covers and where it differs on purpose.
"""

__version__ = "0.6.3+ship"
