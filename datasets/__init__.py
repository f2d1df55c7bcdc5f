"""Dataset readers, one file a dataset. Importing the package registers all of them.

Every module beside this one is found and imported, so a new reader needs a new file and no list to edit. The way in is
`benchmark.Benchmark`: it reads the split, draws the few-shot images, picks base or new classes; a reader says where
things lie.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
