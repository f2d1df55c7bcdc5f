"""Lists of runs as data: configs/sweeps/<name>.yaml.

    task: base2new                      every run's task
    cfg: miniclip                       configuration of every trainer; a trainer without such a file takes the shorter
                                        name (vit_b16_ctxv1 -> vit_b16), a variant may name its own
    settings: gzsl                      optional: <cfg>_gzsl, where a trainer has it
    datasets: [caltech101, eurosat]
    seeds: [1, 2, 3]
    shots: 16                           -1: all training images
    source: {dataset: imagenet, trainer: CoOp_SHIP}     optional: the run that variants with `start` begin from
    report: [--table, 4]                optional: arguments of scripts/report.py for the table of these runs
    variants:
      - {trainer: CoOp_SHIP, options: {TRAINER.SHIP.FRAMEWORK: gan}}
      - {trainer: CoOp, cfg: miniclip, start: [MODEL.INIT_WEIGHTS]}

Values are taken letter by letter: what stands here is what train.py gets and what the folder is called.
"""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from .choices import shortened
from .run import ROOT, Options, Run, UserError, config_files

try:
    import yaml
except ImportError:  # before the set-up
    yaml = None

FOLDER = ROOT / "configs/sweeps"
FIELDS = ("task", "cfg", "settings", "datasets", "seeds", "shots", "source", "report", "variants")
VARIANT = ("trainer", "cfg", "options", "start")


@dataclass(frozen=True)
class Variant:
    trainer: str
    cfg: str = ""  # empty: the sweep's
    options: Options = ()
    start: tuple[str, ...] = ()  # options that take the folder of the source's run


@dataclass(frozen=True)
class Sweep:
    """Every variant on every data set with every seed."""

    name: str
    task: str
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    variants: tuple[Variant, ...]
    cfg: str = "miniclip"
    settings: str = ""
    shots: int = 16
    source: Variant | None = None
    source_dataset: str = ""
    report: tuple[str, ...] = ()

    def cfg_of(self, variant: Variant) -> str:
        if variant.cfg:
            return variant.cfg
        plain = shortened(variant.trainer, self.cfg)
        longer = f"{plain}_{self.settings}"
        return longer if self.settings and config_files(variant.trainer, longer) else plain

    def runs(self, options: Options = ()) -> list[Run]:
        """The runs, `options` in front of each variant's own, in the order data set, seed, variant."""
        found = []
        for dataset, seed, one in product(self.datasets, self.seeds, self.variants):
            source, both = self.source_run(seed, options) if one.start else None, (*options, *one.options)
            cfg = self.cfg_of(one)
            found.append(Run(self.task, dataset, one.trainer, cfg, seed, self.shots, both, source, one.start))
        return found

    def source_run(self, seed: int, options: Options) -> Run:
        """Trained on all classes of the source; targets differ in their task, so it is a run of the task fewshot."""
        if not self.source:
            raise UserError(f"sweep '{self.name}': a variant has `start`, so the sweep needs a `source`")
        one = self.source
        return Run("fewshot", self.source_dataset, one.trainer, self.cfg_of(one), seed, self.shots, options)

    def changed(self, field: str, text: str) -> "Sweep":
        """The sweep with cfg, datasets, seeds, shots or source (a data set) as `text` says: "1,2,3" or "1 2 3"."""
        words = tuple(text.replace(",", " ").split())
        if not words:
            raise UserError(f"{field} is empty")
        if field == "datasets":
            return replace(self, datasets=words)
        if field == "seeds":
            return replace(self, seeds=tuple(number(word, "a seed") for word in words))
        if field == "shots":
            return replace(self, shots=number(words[0], "shots"))
        if field == "cfg":
            return replace(self, cfg=words[0])
        if field == "source":
            return replace(self, source_dataset=words[0])
        known = "cfg, datasets, seeds, shots, source, or a KEY of the config"
        raise UserError(f"'{field}' cannot be set; it is one of {known}")


def number(word: str, what: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise UserError(f"{what} is a whole number, found '{word}'") from None


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(name: str) -> Path:
    """The file of a sweep: a path, or a name in configs/sweeps/. Raises UserError, listing what there is."""
    for path in (Path(name), FOLDER / f"{name}.yaml"):
        if path.is_file():
            return path
    raise UserError(f"no sweep '{name}': neither a file nor one of configs/sweeps/: {', '.join(names()) or 'none'}")


def load(name: str) -> Sweep:
    """The sweep in a file. Raises UserError that names the file and the field that is wrong."""
    path = find(name)
    if yaml is None:
        raise UserError("reading a sweep needs PyYAML, which is not there; run  bash scripts/setup.sh")
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # every scalar stays a string
        return parse(path.stem, data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not YAML: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def parse(name: str, data) -> Sweep:
    fields = checked(data, FIELDS, ("task", "datasets", "variants"), "a sweep")
    source = dict(mapping(fields.get("source", {}), "source"))
    dataset = source.pop("dataset", "")
    if source and not dataset:
        raise UserError("`source` needs a dataset")
    return Sweep(
        name=name,
        task=fields["task"],
        datasets=listed(fields["datasets"], "datasets"),
        seeds=tuple(number(word, "a seed") for word in listed(fields.get("seeds", ["1", "2", "3"]), "seeds")),
        variants=tuple(variant(one) for one in listed(fields["variants"], "variants")),
        cfg=fields.get("cfg", "miniclip"),
        settings=fields.get("settings", ""),
        shots=number(fields.get("shots", "16"), "shots"),
        source=variant(source) if source else None,
        source_dataset=dataset,
        report=listed(fields.get("report", []), "report"),
    )


def variant(data) -> Variant:
    fields = checked(data, VARIANT, ("trainer",), "a variant")
    options = mapping(fields.get("options", {}), "options")
    for key, value in options.items():
        if not isinstance(value, str):
            raise UserError(f"the option {key} of {fields['trainer']} is a list or a table; quote it: '{value}'")
    return Variant(
        trainer=fields["trainer"],
        cfg=fields.get("cfg", ""),
        options=tuple(options.items()),
        start=listed(fields.get("start", []), "start"),
    )


def checked(data, known, needed, what) -> dict:
    fields = mapping(data, what)
    for key in fields:
        if key not in known:
            raise UserError(f"{what} has no field '{key}'; its fields are {', '.join(known)}")
    for key in needed:
        if not fields.get(key):
            raise UserError(f"{what} needs the field '{key}', which is missing or empty")
    return fields


def mapping(data, what) -> dict:
    if not isinstance(data, dict):
        raise UserError(f"{what} should be a table of fields, found {data!r}")
    return data


def listed(data, what) -> tuple:
    if not isinstance(data, list):
        raise UserError(f"`{what}` should be a list, found {data!r}")
    return tuple(data)
