"""`import _path` puts the repository root and third_party/ first on sys.path, so that a script runs from any folder."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [folder for folder in (ROOT, os.path.join(ROOT, "third_party")) if folder not in sys.path]
