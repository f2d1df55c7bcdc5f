"""Lists of runs as data: configs/sweeps/<name>.yaml.

    base: table2                        optional: another list, which these fields go on top of
    arguments: DATASET SEED [TRAINER]   optional: the words behind the list's name, and so the fields that they fill
    variables: SHOTS CFG                optional: variables of the environment that fill fields
    task: base2new                      every run's task
    cfg: miniclip                       configuration of every trainer; a trainer without such a file takes the shorter
                                        name (vit_b16_ctxv1 -> vit_b16), a variant may name its own
    settings: gzsl                      optional: <cfg>_gzsl, where a trainer has it
    datasets: [caltech101, eurosat]     a text of words will do: caltech101 eurosat
    with_data: yes                      optional: of these, the ones without images or a shipped bank are left out
    seeds: [1, 2, 3]
    shots: 16                           -1: all training images; or several numbers
    source: {dataset: imagenet, trainer: CoOp}     optional: the run that variants with `start` begin from. Without a
                                        trainer it is the variant's own; `start` and `except` (trainers) may stand here
    options: {DATASET.HALVES_SEED: "{seed}"}       optional: of all variants; {seed} stands for the run's seed
    jobs: 2                             optional: runs side by side
    report: [--table, 4]                optional: arguments of scripts/report.py for the table of these runs
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

from .runs import CONFIGS, ROOT, Options, Paths, Run, config_files, seen_from_user, shortened

try:
    import yaml
except ImportError:  # before the set-up
    yaml = None  # type: ignore[assignment]

# What an argument, a variable of the environment or --set may be called -> the field of a list that it fills.
ALIASES = {"DATASET": "datasets", "TARGETS": "datasets", "SEED": "seeds", "TRAINER": "variants", "METHODS": "variants"}
FIELDS = (
    "base arguments variables task cfg settings datasets seeds shots variants options source source_cfg with_data jobs "
    "report"
).split()
WORDS = ("datasets", "seeds", "shots", "variants")  # fields that are lists; a text of words will do


def names() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("sweeps/*.yaml"))


def find(name: str) -> Path:
    """The file of a list: a path, or a name in configs/sweeps/. Raises UserError."""
    plain = name.replace("_", "")
    named = [CONFIGS / "sweeps" / f"{known}.yaml" for known in names() if known.replace("_", "") == plain]
    path = next((path for path in [*named, Path(seen_from_user(name))] if path.is_file()), None)
    if path is None:
        raise UserError(f"'{name}' is neither a file nor one of configs/sweeps/; nearest: {nearest(name, names())[:3]}")
    return path


def describe(name: str) -> tuple[str, str]:
    """(usage, description) of a list: its arguments, and the comment on top of its file."""
    path = find(name)
    text = path.read_text(encoding="utf-8", errors="replace")
    comment = re.match(r"(#.*\n)*", text).group()
    arguments = re.search(r'^arguments: *"?(.*?)"?$', text, re.MULTILINE)
    script = f"bash scripts/{name}.sh" if (ROOT / f"scripts/{name}.sh").exists() else f"python scripts/launch.py {name}"
    return f"{script} {arguments.group(1) if arguments else ''}".rstrip(), re.sub(r"^# ?", "", comment, flags=re.M)


def read_list(name: str, words: list[str] = ()) -> dict:
    """The fields of a list, filled with what the environment and the `words` of a command line give. Raises UserError
    with the name of the file."""
    path = find(name)
    if yaml is None:
        raise UserError("reading a list of runs needs PyYAML; run  bash scripts/setup.sh")
    try:
        fields = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # every number stays as written
        if not isinstance(fields, dict) or not fields.keys() <= {*FIELDS}:
            raise UserError(f"expected a table with fields of {', '.join(FIELDS)}; found {str(fields)[:200]}")
        given = arguments(fields.get("arguments", ""), words)
        if "base" in fields:
            fields = {**read_list(fields["base"].format(**given)), **fields}
        for key in fields.get("variables", "").split():
            change(fields, key, os.environ.get(key, ""))
        for key, value in given.items():
            change(fields, key, value)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {error}") from None
    except UserError as error:
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


def change(fields: dict, key: str, value: str):
    """Sets the field that `key` means, unless the value is empty. Raises UserError for an unknown one."""
    field = ALIASES.get(key.upper(), key.lower())
    if field == "source" and value:
        fields["source"] = {**fields.get("source", {}), "dataset": value}
    elif field in (*WORDS, "cfg", "source_cfg") and value:
        fields[field] = value
        fields.pop({"datasets": "with_data", "cfg": ""}.get(field, ""), None)
    elif value and field != "table":
        raise UserError(f"'{key}' cannot be set; it is one of {', '.join(WORDS)}, cfg, source, or a KEY of the config")


def runs_of(fields: dict, options: Options, paths: Paths) -> list[Run]:
    """The runs of a list, `options` in front of each variant's own. Raises UserError for a field that is wrong."""
    for field in ("task", "datasets", "variants"):
        if not fields.get(field):
            raise UserError(f"a list of runs needs the field `{field}`, which is missing or empty")
    cfg, source = fields.get("cfg", "miniclip"), fields.get("source", {})
    seeds, shots = numbers("seeds", fields.get("seeds", "1 2 3")), numbers("shots", fields.get("shots", "16"))
    found = []
    for dataset, seed, shot in product(available_datasets(fields, paths), seeds, shots):
        for one in map(variant, words_of(fields["variants"])):
            trainer = one["trainer"]
            start = one.get("start", [] if trainer in source.get("except", ()) else source.get("start", []))
            origin = None
            if start and "dataset" not in source:
                raise UserError("a variant has `start`, so the list needs a `source` with a dataset")
            if start:  # trained on all classes of the source
                its_cfg = fields.get("source_cfg") or source.get("cfg") or cfg
                by = source.get("trainer", trainer)
                origin = Run("fewshot", source["dataset"], by, shortened(by, its_cfg), seed, shot, options, paths=paths)
            if origin and origin.dataset == dataset:
                raise UserError(f"{dataset} is the source: its classes have images")
            own = one.get("cfg") or cfg_of(trainer, cfg, fields.get("settings", ""))
            both = (*options, *fields.get("options", {}).items(), *one.get("options", {}).items())
            found.append(Run(fields["task"], dataset, trainer, own, seed, shot, both, origin, tuple(start), paths))
    return found


def variant(data) -> dict:
    """A variant as a table. Raises UserError."""
    if isinstance(data, str):
        data = dict(zip(("trainer", "cfg"), data.split("/", 1)))
    known = ("trainer", "cfg", "options", "start")
    if not isinstance(data, dict) or not data.get("trainer") or not set(known) >= data.keys():
        raise UserError(f"a variant has the fields {', '.join(known)}, the first of them always; found {data}")
    for key, value in data.get("options", {}).items():
        if not isinstance(value, str):
            raise UserError(f"the option {key} of {data['trainer']} is a list or a table; quote it: '{value}'")
    return data


def cfg_of(trainer: str, cfg: str, settings: str) -> str:
    plain = shortened(trainer, cfg)
    longer = f"{plain}_{settings}"
    return longer if settings and config_files(trainer, longer) else plain


def available_datasets(fields: dict, paths: Paths) -> list[str]:
    found = words_of(fields["datasets"])
    if fields.get("with_data"):
        shipped = ROOT / "datasets/banks"
        found = [name for name in found if paths.data or any(shipped.glob(f"{name}_*.safetensors"))]
        found = [name for name in found if name != fields.get("source", {}).get("dataset")]
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


def pairs(flag: str, words: list[str]) -> list[tuple[str, str]]:
    """(KEY, VALUE) of words KEY=VALUE. Raises UserError."""
    if wrong := [word for word in words if "=" not in word]:
        raise UserError(f"{flag} takes KEY=VALUE, found '{wrong[0]}'")
    return [(key, value) for key, _, value in (word.partition("=") for word in words)]
