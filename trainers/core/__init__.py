"""The counter where the author of a method or a plug-in shops."""

from .config import declare
from .errors import ClassesUnsupported, UserError
from .feature_trainer import FeatureTrainer
from .heads import Head, PromptHead, RowHead, ZeroshotHead
from .plugin import Plugin
from .registry import register

__all__ = [
    "ClassesUnsupported",
    "FeatureTrainer",
    "Head",
    "Plugin",
    "PromptHead",
    "RowHead",
    "UserError",
    "ZeroshotHead",
    "declare",
    "register",
]
