"""Lists of runs as data: configs/sweeps/<name>.yaml.

    base: table2                        optional: another list, which these fields go on top of
    arguments: DATASET SEED [TRAINER]   optional: the words behind the list's name, and so the fields that they fill
    variables: SHOTS CFG                optional: variables of the environment that fill fields
    task: base2new                      every run's task
    cfg: miniclip                       configuration of every trainer; a trainer without such a file takes the shorter
                                        name (vit_b16_ctxv1 -> vit_b16), a variant may name its own
    datasets: [caltech101, eurosat]     a text of words will do: caltech101 eurosat
    with_data: yes                      optional: of these, the ones without images or a shipped bank are left out
    seeds: [1, 2, 3]
    shots: 16                           -1: all training images; or several numbers
    source: {dataset: imagenet, trainer: CoOp}     optional: the run that variants with `start` begin from. Without a
                                        trainer it is the variant's own; `start` and `except` (trainers) may stand here
    options: {DATASET.HALVES_SEED: "{seed}"}       optional: of all variants; {seed} stands for the run's seed
    jobs: 2                             optional: runs side by side
    report: [--table, 4]                optional: arguments of scripts/report.py for the table of these runs
    closing: What one sees.             optional: printed behind it; {output}, {dataset} and {seed} are the first run's
    variants:                           a trainer, <trainer>/<cfg>, or a table
      - CoOp
      - {trainer: CoOp_SHIP, options: {TRAINER.SHIP.FRAMEWORK: gan}}
      - {trainer: CoOp, cfg: miniclip, start: [MODEL.INIT_WEIGHTS]}     `start`: options that take the source's folder

Values are taken letter by letter: what stands here is what train.py gets and what the folder is called.
"""

import os
import re
from itertools import product
from pathlib import Path

from trainers.core.files import UserError, nearest

from .runs import CONFIGS, ROOT, Options, Run, shortened

FIELDS = "base arguments variables task cfg datasets seeds shots variants options source with_data jobs".split()
FIELDS += ["report", "closing"]
# What an argument, a variable of the environment or --set may be called beside a field's name -> the field it fills.
ALIASES = {"DATASET": "datasets", "TARGETS": "datasets", "SEED": "seeds", "TRAINER": "variants", "METHODS": "variants"}
CHANGEABLE = "datasets seeds shots variants cfg source source_cfg".split()


def names() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("sweeps/*.yaml"))


def find(name: str) -> Path:
    """The file of a list: a path, or a name in configs/sweeps/. Raises UserError."""
    for path in (CONFIGS / f"sweeps/{name}.yaml", Path(name)):
        if path.is_file():
            return path
    raise UserError(f"'{name}' is neither a file nor one of configs/sweeps/; nearest: {nearest(name, names())[:3]}")


def describe(name: str) -> tuple[str, str]:
    """(usage, description) of a list: its arguments, and the comment on top of its file. YAML need not be installed."""
    text = find(name).read_text(encoding="utf-8", errors="replace")
    comment = re.match(r"(#.*\n)*", text).group()
    spec = re.search(r'^arguments: *"?(.*?)"?$|\Z', text, re.MULTILINE).group(1) or ""
    script = f"bash scripts/{name}.sh" if (ROOT / f"scripts/{name}.sh").exists() else f"python scripts/launch.py {name}"
    return f"{script} {spec}".rstrip(), re.sub(r"^# ?", "", comment, flags=re.MULTILINE)


def read_list(name: str, words: list[str] = ()) -> dict:
    """The fields of a list, filled with what the environment and the `words` of a command line give. Raises UserError
    with the name of the file."""
    path = find(name)
    try:
        import yaml

        fields = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # every number stays as written
        if not isinstance(fields, dict) or not fields.keys() <= {*FIELDS}:
            raise UserError(f"expected a table with fields of {', '.join(FIELDS)}; found {str(fields)[:200]}")
        given = arguments(fields.get("arguments", ""), words)
        if "base" in fields:
            fields = {**read_list(fields["base"].format(**given)), **fields}
            given.pop("TABLE", "")  # of the base alone
        variables = {key: os.environ.get(key, "") for key in fields.get("variables", "").split()}
        for key, value in {**variables, **given}.items():
            change(fields, key, value)
    except ImportError:
        raise UserError("reading a list of runs needs PyYAML; run  bash scripts/setup.sh") from None
    except (UserError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path.name}: {error}") from None
    return fields


def arguments(spec: str, words: list[str]) -> dict[str, str]:
    """{name: value} of the words that a specification like "SEED [TRAINER] [TARGETS...]" takes. Raises UserError."""
    keys = re.findall(r"\w+", spec)
    needed = len(re.findall(r"\w+", spec.partition("[")[0]))
    if "..." in spec and len(words) > len(keys):
        words = [*words[: len(keys) - 1], " ".join(words[len(keys) - 1 :])]
    if not needed <= len(words) <= len(keys):
        raise UserError(f"takes the arguments {spec or '(none)'}, found {' '.join(words) or 'none'}; see --help")
    return dict(zip(keys, words))


def change(fields: dict, key: str, value):
    """Sets the field that `key` means, unless the value is empty. Raises UserError for an unknown one."""
    field = ALIASES.get(key.upper(), key.lower())
    if field not in CHANGEABLE:
        raise UserError(f"'{key}' cannot be set; it is one of {', '.join(CHANGEABLE)}, or a KEY of the config")
    if not value:
        return
    if field.startswith("source"):
        field, value = "source", {**fields.get("source", {}), field.partition("_")[2] or "dataset": value}
    if field == "datasets":
        fields.pop("with_data", None)
    fields[field] = value


def runs_of(fields: dict, options: Options = (), **places: str) -> list[Run]:
    """The runs of a list, `options` in front of each variant's own. `places`: output, data and bank of a Run. Raises
    UserError for a field that is wrong."""
    if missing := [field for field in ("task", "datasets", "variants") if not fields.get(field)]:
        raise UserError(f"a list of runs needs the field `{missing[0]}`, which is missing or empty")
    cfg, source = fields.get("cfg", "miniclip"), fields.get("source", {})
    seeds, shots = numbers("seeds", fields.get("seeds", "1 2 3")), numbers("shots", fields.get("shots", "16"))
    variants, found = [variant(data) for data in words_of(fields["variants"])], []
    for dataset, seed, shot, one in product(available_datasets(fields, places), seeds, shots, variants):
        trainer, origin = one["trainer"], None
        start = one.get("start", [] if trainer in source.get("except", ()) else source.get("start", []))
        if start:  # trained on all classes of the source
            if source.get("dataset", dataset) == dataset:
                raise UserError(f"`start` needs a `source`, a data set other than {dataset}, whose classes have images")
            by = source.get("trainer", trainer)
            its_cfg = shortened(by, source.get("cfg", cfg))
            origin = Run("fewshot", source["dataset"], by, its_cfg, seed, shot, options, **places)
        own = one.get("cfg") or shortened(trainer, cfg)
        both = (*options, *fields.get("options", {}).items(), *one.get("options", {}).items())
        found.append(Run(fields["task"], dataset, trainer, own, seed, shot, both, origin, tuple(start), **places))
    return found


def variant(data) -> dict:
    """A variant as a table. Raises UserError."""
    if isinstance(data, str):
        data = dict(zip(("trainer", "cfg"), data.split("/", 1)))
    if not {"trainer"} <= data.keys() <= {"trainer", "cfg", "options", "start"}:
        raise UserError(f"a variant has the field trainer, and perhaps cfg, options, start; found {data}")
    if quoteless := [value for value in data.get("options", {}).values() if not isinstance(value, str)]:
        raise UserError(f"an option of {data['trainer']} is a list or a table; quote it: '{quoteless[0]}'")
    return data


def available_datasets(fields: dict, places: dict[str, str]) -> list[str]:
    """Those of the list; with `with_data`, the ones that have images or a shipped bank and are not the source."""
    found = words_of(fields["datasets"])
    if fields.get("with_data"):
        banks, source = ROOT / "datasets/banks", fields.get("source", {}).get("dataset")
        found = [name for name in found if places.get("data") or any(banks.glob(f"{name}_*.safetensors"))]
        found = [name for name in found if name != source]
    if not found:
        raise UserError("no data set is left: no bank of another one is shipped; give DATA=DIR, the folder of images")
    return found


def words_of(value) -> list:
    """A list as it is; a text's words, between blanks or commas."""
    return value.replace(",", " ").split() if isinstance(value, str) else list(value)


def numbers(field: str, value) -> list[int]:
    try:
        return [int(word) for word in words_of(value)]
    except ValueError:
        raise UserError(f"{field} should be whole numbers, found '{value}'") from None
