"""Where a checkout's configuration has our keys for something else.

A key of ours whose name is taken lives below the node ASIDE, for TRAINER.COOP.CTX_INIT as <ASIDE>.COOP.CTX_INIT. A
trainer sees them under their own names. The checkout's values are read for two keys alone, which mean the same there:
TASK, and CTX_INIT as a truth value.
"""

import dassl
from dassl.config import get_cfg_default
from yacs.config import CfgNode as CN

from .config import ASIDE
from .files import UserError
from .model.prompts import PHOTO, templates_for
from .tasks import TASKS

THEIR_TASKS = {"B2N": "base2new", "FS": "fewshot", "CD": "cross_dataset"}
WHOLE = (0.08, 1.0)  # INPUT.RRCROP_SCALE of a Dassl that has no such key


def own_config(cfg, section=None):
    """`cfg` with our options under their own names, a copy where the checkout has taken one. What the trainer with the
    node `section` reads of the checkout's is printed. Raises UserError for a TASK that says nothing to us."""
    if "RRCROP_SCALE" not in get_cfg_default().INPUT and tuple(cfg.INPUT.RRCROP_SCALE) != WHOLE:
        raise UserError(
            f"INPUT.RRCROP_SCALE is {cfg.INPUT.RRCROP_SCALE}, but Dassl {getattr(dassl, '__version__', '')} "
            f"({dassl.__path__[0]}) has no such key and crops from {WHOLE}: leave it out, or put this repository's "
            "third_party first on PYTHONPATH"
        )
    aside = cfg.get(ASIDE, CN())
    if not aside and cfg.TASK in TASKS:
        return cfg
    own, aside = cfg.clone(), aside.clone()
    own.defrost(), aside.defrost()
    aside.TASK = aside.get("TASK", "") or own_task(cfg.TASK)
    for name, options in aside.items():
        if isinstance(options, CN) and name in cfg.TRAINER and "CTX_INIT" in options:
            theirs, shown = cfg.TRAINER[name].CTX_INIT, name == section
            if not options.CTX_INIT and isinstance(theirs, bool):
                options.CTX_INIT = own_words(cfg, f"TRAINER.{name}.CTX_INIT {theirs}", theirs, shown)
                if options.CTX_INIT and "N_CTX" in cfg.TRAINER[name]:
                    options.N_CTX = len(options.CTX_INIT.split())  # theirs is of a context without words
    own.pop(ASIDE, None)
    for name, value in aside.items():
        if isinstance(value, CN):
            merge(own[name] if name in own else own.TRAINER[name], value)
        else:
            own[name] = value
    if cfg.is_frozen():
        own.freeze()
    return own


def own_task(theirs):
    """Our TASK for the checkout's."""
    if theirs in TASKS:
        return theirs
    if theirs not in THEIR_TASKS:
        raise UserError(f"TASK {theirs} is this checkout's own: set {ASIDE}.TASK, one of {', '.join(TASKS)}")
    print(f"TASK {theirs} of this checkout is read as {THEIR_TASKS[theirs]}; {ASIDE}.TASK sets another")
    return THEIR_TASKS[theirs]


def own_words(cfg, key, theirs, shown):
    """Words for our CTX_INIT: none, or those before the name in the data set's template."""
    template = templates_for(cfg.DATASET.NAME, cfg.DATASET.get("TEMPLATE", None))[0]
    before = template if template.partition("{}")[0].strip() else PHOTO
    words = before.partition("{}")[0].strip() if theirs else ""
    if shown:
        name = key.split(".")[1]
        print(f"{key} of this checkout is read as {words!r}; {ASIDE}.{name}.CTX_INIT sets other words")
    return words


def merge(node, over):
    """Puts the values of the node `over` into `node`."""
    for key, value in over.items():
        if isinstance(value, CN):
            merge(node[key], value)
        else:
            node[key] = value
