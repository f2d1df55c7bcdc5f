"""Dataset readers, one file a dataset. Importing the package registers all of them.

Every module beside this one is found and imported, so a new reader needs a new file and no list to edit. `core` has
what readers share; `prepare`, which gets and checks the data, is imported by scripts alone.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    if not _module.ispkg:
        importlib.import_module(f"{__name__}.{_module.name}")
