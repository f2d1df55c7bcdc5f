"""Each script's arguments -> the list of its runs. A function's text is what --help shows of it; the
parameters behind `place` are the words that the script takes."""

import os
from dataclasses import dataclass, replace

from . import sweeps
from .choices import listing, shortened
from .run import ALL, ROOT, Options, Place, Run, UserError

PAPER_DATASETS = (
    "imagenet caltech101 oxford_pets stanford_cars oxford_flowers food101 fgvc_aircraft sun397 dtd eurosat ucf101"
).split()
TARGETS = "imagenetv2 imagenet_sketch imagenet_a imagenet_r"


@dataclass(frozen=True)
class Plan:
    """Runs, and the arguments of scripts/report.py that make a table of them (none: no table)."""

    name: str
    runs: list[Run]
    report: tuple[str, ...] = ()
    alone: bool = False  # the table is of these runs alone: their results.json go in front of `report`
    jobs: int = 1  # side by side, unless JOBS or --jobs says otherwise
    threads: int | None = None  # OMP_NUM_THREADS of each, unless the user has set it


def variable(name: str, default: str = "") -> str:
    return os.environ.get(name) or default


def seed_of(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise UserError(f"SEED is a whole number, found '{word}'")
    return int(word)


def shots(default: str = "16") -> list[int]:
    return [sweeps.number(word, "SHOTS") for word in variable("SHOTS", default).split()]


def one_shots() -> int:
    found = shots()
    if len(found) > 1:
        raise UserError(f"SHOTS is one number here, found '{variable('SHOTS')}'")
    return found[0]


def base2new(options: Options, place: Place, dataset, seed, trainer="CoOp_SHIP", cfg="miniclip") -> Plan:
    """usage: bash scripts/base2new.sh DATASET SEED [TRAINER [CFG]] [-- KEY VALUE ...]

    Base-to-new generalization, one run: trains on the base classes, evaluates base, new, all and H.
      TRAINER is CoOp_SHIP and CFG is miniclip unless given
      SHOTS=16   images per base class"""
    return Plan("base2new", [Run("base2new", dataset, trainer, cfg, seed_of(seed), one_shots(), options)])


def leave_classes_out(options: Options, place: Place, dataset, seed, trainer="CoOp_SHIP", cfg="miniclip") -> Plan:
    """usage: bash scripts/leave_classes_out.sh DATASET SEED [TRAINER [CFG]] [-- KEY VALUE ...]

    The judge for hyper-parameters, one run: half of the base classes, drawn by SEED, stand for new ones.
      TRAINER is CoOp_SHIP and CFG is miniclip unless given
      SHOTS=16   images per class"""
    run = Run("leave_classes_out", dataset, trainer, cfg, seed_of(seed), one_shots(), options)
    return Plan("leave_classes_out", [run])


def fewshot(options: Options, place: Place, dataset, seed, trainer, cfg="miniclip") -> Plan:
    """usage: bash scripts/fewshot.sh DATASET SEED TRAINER [CFG] [-- KEY VALUE ...]

    Few-shot classification over all classes, at 1, 2, 4, 8 and 16 shots.
      CFG is miniclip unless given
      SHOTS="1 2 4 8 16"   images per class"""
    run = Run("fewshot", dataset, trainer, cfg, seed_of(seed), options=options)
    return Plan("fewshot", [replace(run, shots=count) for count in shots("1 2 4 8 16")])


def gzsl(options: Options, place: Place, dataset, seed, trainer="CoOp_SHIP", cfg=None) -> Plan:
    """usage: bash scripts/gzsl.sh DATASET SEED [TRAINER [CFG]] [-- KEY VALUE ...]

    Generalized zero-shot learning (the paper's Table 3), one run: trains on all images of the seen classes, evaluates
    seen and unseen test images over the names of both, mean accuracy of the classes.
      DATASET is cub, awa2 or flo with the Proposed Splits; of any other the base classes are seen, the new ones unseen
      TRAINER is CoOp_SHIP and CFG is miniclip_gzsl (miniclip, where the trainer has no such file) unless given
    The table of all runs: python scripts/report.py --table 3 output/gzsl"""
    cfg = shortened(trainer, "miniclip_gzsl") if cfg is None else cfg
    return Plan("gzsl", [Run("gzsl", dataset, trainer, cfg, seed_of(seed), ALL, options)])


def cross_dataset(options: Options, place: Place, source, seed, *targets) -> Plan:
    """usage: bash scripts/cross_dataset.sh SOURCE SEED [TARGET ...] [-- KEY VALUE ...]

    Cross-dataset transfer (the paper's Table 2): CoOp and SHIP's generator are trained on all classes of a source once.
    On each target: zero-shot, the source's CoOp as it is, and CoOp fine-tuned on features that the generator makes of
    the target's class names.
      TARGETs are the paper's other datasets unless given (without DATA: those whose feature bank is shipped)
      CFG=miniclip       configuration on the targets    SOURCE_CFG=$CFG   configuration on the source
      SHOTS=16           images per class of the source
    The table: python scripts/report.py --table 2 output/cross_dataset"""
    seed, targets = seed_of(seed), targets or default_targets(source, place)
    if source in targets:
        raise UserError(f"{source} is the source: its classes have images")
    table = replace(sweeps.load("table2"), datasets=targets, seeds=(seed,), source_dataset=source, shots=one_shots())
    trained = replace(table.source, cfg=variable("SOURCE_CFG"))
    table = replace(table, cfg=variable("CFG", table.cfg), source=trained)
    return Plan("cross_dataset", table.runs(options), (*table.report, f"{place.output}/cross_dataset"))


def default_targets(source: str, place: Place) -> tuple[str, ...]:
    shipped = {path.stem.removesuffix("_miniclip") for path in (ROOT / "datasets/banks").glob("*_miniclip.safetensors")}
    found = tuple(name for name in PAPER_DATASETS if name != source and (place.data or name in shipped))
    if not found:
        raise UserError("no target: no bank but the source's is shipped; give DATA=DIR, the folder of images")
    return found


def domain_generalization(options: Options, place: Place, seed, trainer="CoOp", cfg=None) -> Plan:
    """usage: bash scripts/domain_generalization.sh SEED [TRAINER [CFG]] [-- KEY VALUE ...]

    Domain generalization by CoCoOp's protocol: a method trained on all classes of ImageNet, evaluated on ImageNetV2,
    -Sketch, -A and -R, each with its own classes.
      TRAINER is CoOp and CFG is vit_b16_ep50_ctxv1 unless given
      SOURCE=imagenet    TARGETS="imagenetv2 imagenet_sketch imagenet_a imagenet_r"
      SHOTS=16           images per class of the source
    The table: python scripts/report.py --layout paper output/domain_generalization"""
    cfg = shortened(trainer, "vit_b16_ep50_ctxv1") if cfg is None else cfg
    run = Run("fewshot", variable("SOURCE", "imagenet"), trainer, cfg, seed_of(seed), one_shots(), options)
    if trainer == "ZeroshotCLIP":  # has nothing to take along
        target = replace(run, task="domain_generalization")
    else:
        target = replace(run, task="domain_generalization", source=run, start=("MODEL.INIT_WEIGHTS",))
    targets = variable("TARGETS", TARGETS).split()
    return Plan("domain_generalization", [replace(target, dataset=dataset) for dataset in targets])


def ablation(options: Options, place: Place, table, dataset, seed, cfg=None) -> Plan:
    """usage: bash scripts/ablation.sh TABLE DATASET SEED [CFG] [-- KEY VALUE ...]

    An ablation on one dataset: runs the variants that configs/sweeps/ablation<TABLE>.yaml lists and prints the table.
      TABLE is 4 (framework and generator), 5 (global prompts and sequential bias) or 6 (length of the prompts) of
      SHIP's paper, or the name of another list
      CFG is miniclip unless given; KEY VALUE are configuration options of all variants
      The variant that is the method as it is shares its run with base2new.sh; Table 4 also shows CoOp, where it was run
      SHOTS=16   images per base class"""
    found = [name for name in sweeps.names() if name.startswith("ablation")]
    names = {name.removeprefix("ablation").removeprefix("_"): name for name in found}
    if table not in names:
        raise UserError(f"no ablation '{table}' in configs/sweeps/. There are: {', '.join(names)}")
    sweep = replace(sweeps.load(names[table]), datasets=(dataset,), seeds=(seed_of(seed),), shots=one_shots())
    sweep = replace(sweep, cfg=sweep.cfg if cfg is None else cfg)
    return Plan(names[table], sweep.runs(options), (*sweep.report, f"{place.output}/{sweep.task}/{dataset}"))


def table1(options: Options, place: Place, *datasets) -> Plan:
    """usage: bash scripts/table1.sh [DATASET ...] [-- KEY VALUE ...]

    The paper's Table 1 on datasets of choice: every method, base to new, several seeds; then the table.
      the datasets are caltech101 and eurosat unless given
      CFG=miniclip      the backbone's family: miniclip or vit_b16
      SEEDS="1 2 3"     METHODS="CoOp CoOp_VPT/CFG ..."     SHOTS=16     JOBS=2 runs side by side"""
    table = sweeps.load("table1")
    seeds = tuple(seed_of(one) for one in variable("SEEDS").split()) or table.seeds
    methods = [name.partition("/") for name in variable("METHODS").split()]
    variants = tuple(sweeps.Variant(trainer, cfg) for trainer, _, cfg in methods) or table.variants
    table = replace(table, datasets=datasets or table.datasets, seeds=seeds, variants=variants)
    table = replace(table, cfg=variable("CFG", table.cfg), shots=one_shots())
    return Plan("table1", table.runs(options), table.report, alone=True, jobs=2, threads=1)


SCRIPTS = (base2new, leave_classes_out, fewshot, gzsl, cross_dataset, domain_generalization, ablation, table1)
PROTOCOLS = {script.__name__: script for script in SCRIPTS}
COMMON = """  KEY VALUE are configuration options of all runs, and name their own folder
  DATA=DIR   image root (empty: the shipped feature bank)     BANK=FILE  another feature bank
  OUTPUT=DIR folder of the results                            PYTHON=..., VENV=DIR   the Python to use
  --jobs N (or JOBS=N) runs side by side, --per-gpu K on each GPU, --slurm [KEY=VALUE ...] as jobs of Slurm
  --dry-run prints the commands, --status the table of what is done, running, failed, waiting; both run nothing
  --force (or FORCE=1) makes runs anew that are done, or whose results are another run's
  Done runs are skipped, broken off ones go on; a failed one fails the script, and is not tried again."""


def usage(name: str) -> str:
    lines = PROTOCOLS[name].__doc__.splitlines()
    return "\n".join([*(line.removeprefix("    ") for line in lines), COMMON, listing()])
