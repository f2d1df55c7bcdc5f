"""Where a checkout's configuration has our keys for something else.

A key of ours whose name is taken lives below the node ASIDE, for TRAINER.COOP.CTX_INIT as <ASIDE>.COOP.CTX_INIT. A
trainer sees them under their own names. The checkout's values are read for two keys alone, which mean the same there:
TASK, and CTX_INIT as a truth value.
"""

from dassl.config import get_cfg_default
from yacs.config import CfgNode as CN

from .config import ASIDE, node_of
from .files import UserError
from .identity import leaves
from .model.prompts import PHOTO, templates_for
from .tasks import TASKS

THEIR_TASKS = {"B2N": "base2new", "FS": "fewshot", "CD": "cross_dataset"}
WHOLE = (0.08, 1.0)  # INPUT.RRCROP_SCALE of a Dassl that has no such key


def own_config(cfg, section=None):
    """`cfg` with our options under their own names, a copy where the checkout has taken one. What the trainer with the
    node `section` reads of the checkout's is printed. Raises UserError for a TASK that says nothing to us."""
    if "RRCROP_SCALE" not in get_cfg_default().INPUT and tuple(cfg.INPUT.RRCROP_SCALE) != WHOLE:
        raise UserError(f"INPUT.RRCROP_SCALE: this Dassl has no such key, and crops from {WHOLE}: leave it out")
    if ASIDE not in cfg and cfg.TASK in TASKS:
        return cfg
    own = cfg.clone()
    own.defrost()
    aside = own.pop(ASIDE, CN())
    aside.TASK = aside.get("TASK") or own_task(cfg.TASK)
    for name, options in aside.items():
        if not isinstance(options, CN) or options.get("CTX_INIT") != "":
            continue  # theirs has no meaning for ours, or ours was set
        theirs = cfg.TRAINER[name].CTX_INIT
        if theirs:
            options.CTX_INIT = own_words(cfg)
            options.N_CTX = len(options.CTX_INIT.split())  # theirs is of a context without words
        if name == section:
            key, words = f"{name}.CTX_INIT", options.CTX_INIT
            print(f"TRAINER.{key} {theirs} of this checkout is read as {words!r}; {ASIDE}.{key} sets other words")
    for key, value in leaves(aside):
        path, _, name = key.rpartition(".")
        node_of(own if path.partition(".")[0] in ("", *own) else own.TRAINER, path)[name] = value
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


def own_words(cfg):
    """The words before the name in the data set's template."""
    template = templates_for(cfg.DATASET.NAME, cfg.DATASET.get("TEMPLATE", None))[0]
    return template.partition("{}")[0].strip() or PHOTO.partition("{}")[0].strip()
