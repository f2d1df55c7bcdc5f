"""Lists of runs as data: configs/sweeps/<name>.yaml.

    base: table2                        optional: another list, which these fields go on top of
    arguments: DATASET SEED [TRAINER]   optional: the words behind the list's name, and so the fields that they fill
    variables: SHOTS CFG                optional: variables of the environment that fill fields
    task: base2new                      every run's task
    cfg: miniclip                       configuration of every trainer; a trainer without such a file takes the shorter
                                        name (vit_b16_ctxv1 -> vit_b16), a variant may name its own
    datasets: [caltech101, eurosat]     here and below, a text of words will do: caltech101 eurosat
    seeds: [1, 2, 3]
    shots: 16                           -1: all training images; or several numbers
    source: imagenet                    optional: the data set of the runs that variants with `start` begin from
    source_trainer: CoOp                optional: the trainer there, in the place of the variant's own; and source_cfg
    start: [MODEL.INIT_WEIGHTS]         optional: options that take the source's folder, of all variants ...
    except: [ZeroshotCLIP]              ... but those of these trainers
    options: {DATASET.HALVES_SEED: "{seed}"}       optional: of all variants; {seed} stands for the run's seed
    jobs: 2                             optional: runs side by side
    report: [--table, 4]                optional: arguments of scripts/report.py for the table of these runs, or of the
                                        folder among them
    closing: What one sees.             optional: printed behind it; {output}, {dataset} and {seed} are the first run's
    variants:                           a trainer, <trainer>/<cfg>, or a table
      - CoOp
      - {trainer: CoOp_SHIP, options: {TRAINER.SHIP.FRAMEWORK: gan}}
      - {trainer: CoOp, cfg: miniclip, start: [MODEL.INIT_WEIGHTS]}

Values are taken letter by letter: what stands here is what train.py gets and what the folder is called.
"""

import re
from itertools import product
from os import environ
from pathlib import Path

import yaml

from trainers.core.files import UserError, nearest

from .runs import CONFIGS, Options, Run, shortened

FIELDS = "base arguments variables task cfg datasets seeds shots source source_trainer source_cfg start except options"
FIELDS += " jobs report closing variants"
# What an argument or a variable may be called beside a field's name -> the field that it fills.
ALIASES = {"DATASET": "datasets", "TARGETS": "datasets", "SEED": "seeds", "TRAINER": "variants", "METHODS": "variants"}


def names() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("sweeps/*.yaml"))


def load(name: str) -> dict:
    """The fields of a list, a path or a name in configs/sweeps/, and `help`, the comment on top of its file. Raises
    UserError."""
    path = CONFIGS / f"sweeps/{name}.yaml"
    if not path.is_file() and not (path := Path(name)).is_file():
        raise UserError(f"'{name}' is neither a file nor one of configs/sweeps/; nearest: {nearest(name, names())[:3]}")
    text = path.read_text(encoding="utf-8")
    fields = yaml.load(text, Loader=yaml.BaseLoader)  # every number stays as written
    if not isinstance(fields, dict) or not fields.keys() <= {*FIELDS.split()}:
        raise UserError(f"{name}: expected a table with the fields {FIELDS}; found {str(fields)[:200]}")
    return {**fields, "help": re.sub("^# ?", "", re.match("(#.*\n)*", text).group(), flags=re.MULTILINE)}


def read_list(name: str, words: list[str] = ()) -> dict:
    """The fields of a list, filled with what the environment and the `words` of a command line give. Raises
    UserError."""
    fields = load(name)
    given = {key: environ.get(key) for key in fields.get("variables", "").split()}
    given.update(arguments(fields.get("arguments", ""), words))
    if "base" in fields:
        fields = {**read_list(fields["base"].format(**given)), **fields}
    filled = {ALIASES.get(key, key.lower()): value for key, value in given.items() if value}
    return {**fields, **filled}


def arguments(spec: str, words: list[str]) -> dict[str, str]:
    """{name: value} of the words that a specification like "SEED [TRAINER] [TARGETS...]" takes. Raises UserError."""
    keys = re.findall(r"\w+", spec)
    needed = len(re.findall(r"\w+", spec.partition("[")[0]))
    if "..." in spec and len(words) > len(keys):
        words = [*words[: len(keys) - 1], " ".join(words[len(keys) - 1 :])]
    if not needed <= len(words) <= len(keys):
        raise UserError(f"takes the arguments {spec or '(none)'}, found {' '.join(words) or 'none'}; see --help")
    return dict(zip(keys, words))


def runs_of(fields: dict, options: Options = (), **places: str) -> list[Run]:
    """The runs of a list, `options` in front of each variant's own. `places`: output, data and bank of a Run. Raises
    UserError for a field that is wrong."""
    cfg, variants = fields.get("cfg", "miniclip"), [variant(data) for data in words_of(fields["variants"])]
    try:
        seeds = [int(word) for word in words_of(fields.get("seeds", "1 2 3"))]
        shots = [int(word) for word in words_of(fields.get("shots", "16"))]
    except ValueError as error:
        raise UserError(f"seeds and shots should be whole numbers: {error}") from None
    found = []
    for dataset, seed, shot, one in product(words_of(fields["datasets"]), seeds, shots, variants):
        trainer, origin = one["trainer"], None
        start = one.get("start", [] if trainer in fields.get("except", ()) else fields.get("start", []))
        if start:  # trained on all classes of the source
            if dataset == fields["source"]:
                raise UserError(f"{dataset} is source and target at once: name other TARGETS")
            by = fields.get("source_trainer", trainer)
            its_cfg = shortened(by, fields.get("source_cfg", cfg))
            origin = Run("fewshot", fields["source"], by, its_cfg, seed, shot, options, **places)
        own = one.get("cfg") or shortened(trainer, cfg)
        both = (*options, *fields.get("options", {}).items(), *one.get("options", {}).items())
        found.append(Run(fields["task"], dataset, trainer, own, seed, shot, both, origin, tuple(start), **places))
    return found


def variant(data: str | dict) -> dict:
    """A variant as a table. Raises UserError."""
    if isinstance(data, str):
        data = dict(zip(("trainer", "cfg"), data.split("/", 1)))
    if not {"trainer"} <= data.keys() <= {"trainer", "cfg", "options", "start"}:
        raise UserError(f"a variant has the field trainer, and perhaps cfg, options, start; found {data}")
    return data


def words_of(value: str | list) -> list:
    return value.split() if isinstance(value, str) else value
