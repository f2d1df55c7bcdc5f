"""Each script's arguments -> the list of its runs. A function's text is what --help shows of it."""

import os
from collections.abc import Callable
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


@dataclass(frozen=True)
class Protocol:
    plan: Callable[[list[str], Options, Place], Plan]
    least: int  # words before -- that it needs
    most: int


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


def word(words: list[str], index: int, default: str) -> str:
    return words[index] if len(words) > index else default


def base2new(words, options, place) -> Plan:
    """usage: bash scripts/base2new.sh DATASET SEED [TRAINER [CFG]] [-- KEY VALUE ...]

    Base-to-new generalization, one run: trains on the base classes, evaluates base, new, all and H.
      TRAINER is CoOp_SHIP and CFG is miniclip unless given
      SHOTS=16   images per base class"""
    trainer, cfg = word(words, 2, "CoOp_SHIP"), word(words, 3, "miniclip")
    return Plan("base2new", [Run("base2new", words[0], trainer, cfg, seed_of(words[1]), one_shots(), options)])


def leave_classes_out(words, options, place) -> Plan:
    """usage: bash scripts/leave_classes_out.sh DATASET SEED [TRAINER [CFG]] [-- KEY VALUE ...]

    The judge for hyper-parameters, one run: half of the base classes, drawn by SEED, stand for new ones.
      TRAINER is CoOp_SHIP and CFG is miniclip unless given
      SHOTS=16   images per class"""
    trainer, cfg = word(words, 2, "CoOp_SHIP"), word(words, 3, "miniclip")
    run = Run("leave_classes_out", words[0], trainer, cfg, seed_of(words[1]), one_shots(), options)
    return Plan("leave_classes_out", [run])


def fewshot(words, options, place) -> Plan:
    """usage: bash scripts/fewshot.sh DATASET SEED TRAINER [CFG] [-- KEY VALUE ...]

    Few-shot classification over all classes, at 1, 2, 4, 8 and 16 shots.
      CFG is miniclip unless given
      SHOTS="1 2 4 8 16"   images per class"""
    run = Run("fewshot", words[0], words[2], word(words, 3, "miniclip"), seed_of(words[1]), options=options)
    return Plan("fewshot", [replace(run, shots=count) for count in shots("1 2 4 8 16")])


def gzsl(words, options, place) -> Plan:
    """usage: bash scripts/gzsl.sh DATASET SEED [TRAINER [CFG]] [-- KEY VALUE ...]

    Generalized zero-shot learning (the paper's Table 3), one run: trains on all images of the seen classes, evaluates
    seen and unseen test images over the names of both, mean accuracy of the classes.
      DATASET is cub, awa2 or flo with the Proposed Splits; of any other the base classes are seen, the new ones unseen
      TRAINER is CoOp_SHIP and CFG is miniclip_gzsl (miniclip, where the trainer has no such file) unless given
    The table of all runs: python scripts/report.py --table 3 output/gzsl"""
    trainer = word(words, 2, "CoOp_SHIP")
    cfg = word(words, 3, shortened(trainer, "miniclip_gzsl"))
    return Plan("gzsl", [Run("gzsl", words[0], trainer, cfg, seed_of(words[1]), ALL, options)])


def cross_dataset(words, options, place) -> Plan:
    """usage: bash scripts/cross_dataset.sh SOURCE SEED [TARGET ...] [-- KEY VALUE ...]

    Cross-dataset transfer (the paper's Table 2): CoOp and SHIP's generator are trained on all classes of a source once.
    On each target: zero-shot, the source's CoOp as it is, and CoOp fine-tuned on features that the generator makes of
    the target's class names.
      TARGETs are the paper's other datasets unless given (without DATA: those whose feature bank is shipped)
      CFG=miniclip       configuration on the targets    SOURCE_CFG=$CFG   configuration on the source
      SHOTS=16           images per class of the source
    The table: python scripts/report.py --table 2 output/cross_dataset"""
    source, seed, targets = words[0], seed_of(words[1]), words[2:] or default_targets(words[0], place)
    if source in targets:
        raise UserError(f"{source} is the source: its classes have images")
    table = replace(sweeps.load("table2"), datasets=tuple(targets), seeds=(seed,), source_dataset=source)
    table = replace(table, cfg=variable("CFG", table.cfg), shots=one_shots())
    table = replace(table, source=replace(table.source, cfg=variable("SOURCE_CFG")))
    return Plan("cross_dataset", table.runs(options), (*table.report, f"{place.output}/cross_dataset"))


def default_targets(source: str, place: Place) -> list[str]:
    shipped = {path.stem.removesuffix("_miniclip") for path in (ROOT / "datasets/banks").glob("*_miniclip.safetensors")}
    found = [name for name in PAPER_DATASETS if name != source and (place.data or name in shipped)]
    if not found:
        raise UserError("no target: no bank but the source's is shipped; give DATA=DIR, the folder of images")
    return found


def domain_generalization(words, options, place) -> Plan:
    """usage: bash scripts/domain_generalization.sh SEED [TRAINER [CFG]] [-- KEY VALUE ...]

    Domain generalization by CoCoOp's protocol: a method trained on all classes of ImageNet, evaluated on ImageNetV2,
    -Sketch, -A and -R, each with its own classes.
      TRAINER is CoOp and CFG is vit_b16_ep50_ctxv1 unless given
      SOURCE=imagenet    TARGETS="imagenetv2 imagenet_sketch imagenet_a imagenet_r"
      SHOTS=16           images per class of the source
    The table: python scripts/report.py --layout paper output/domain_generalization"""
    trainer, seed, count = word(words, 1, "CoOp"), seed_of(words[0]), one_shots()
    cfg = word(words, 2, shortened(trainer, "vit_b16_ep50_ctxv1"))
    start, source = ("MODEL.INIT_WEIGHTS",), variable("SOURCE", "imagenet")
    origin = Run("fewshot", source, trainer, cfg, seed, count, options)
    if trainer == "ZeroshotCLIP":  # has nothing to take along
        start, origin = (), None
    targets = variable("TARGETS", TARGETS).split()
    runs = [
        Run("domain_generalization", target, trainer, cfg, seed, count, options, origin, start) for target in targets
    ]
    return Plan("domain_generalization", runs)


def ablation(words, options, place) -> Plan:
    """usage: bash scripts/ablation.sh TABLE DATASET SEED [CFG] [-- KEY VALUE ...]

    An ablation on one dataset: runs the variants that configs/sweeps/ablation<TABLE>.yaml lists and prints the table.
      TABLE is 4 (framework and generator), 5 (global prompts and sequential bias) or 6 (length of the prompts) of
      SHIP's paper, or the name of another list
      CFG is miniclip unless given; KEY VALUE are configuration options of all variants
      The variant that is the method as it is shares its run with base2new.sh; Table 4 also shows CoOp, where it was run
      SHOTS=16   images per base class"""
    names = {
        name.removeprefix("ablation").removeprefix("_"): name for name in sweeps.names() if name.startswith("ablation")
    }
    if words[0] not in names:
        raise UserError(f"no ablation '{words[0]}' in configs/sweeps/. There are: {', '.join(names)}")
    table = sweeps.load(names[words[0]])
    table = replace(table, datasets=(words[1],), seeds=(seed_of(words[2]),), shots=one_shots())
    if len(words) > 3:
        table = replace(table, cfg=words[3])
    report = (*table.report, f"{place.output}/{table.task}/{words[1]}")
    return Plan(names[words[0]], table.runs(options), report)


def table1(words, options, place) -> Plan:
    """usage: bash scripts/table1.sh [DATASET ...] [-- KEY VALUE ...]

    The paper's Table 1 on datasets of choice: every method, base to new, several seeds; then the table.
      the datasets are caltech101 and eurosat unless given
      CFG=miniclip      the backbone's family: miniclip or vit_b16
      SEEDS="1 2 3"     METHODS="CoOp CoOp_VPT/CFG ..."     SHOTS=16     JOBS=2 runs side by side"""
    table = sweeps.load("table1")
    if words:
        table = replace(table, datasets=tuple(words))
    if variable("SEEDS"):
        table = replace(table, seeds=tuple(seed_of(one) for one in variable("SEEDS").split()))
    if variable("METHODS"):
        methods = [name.partition("/") for name in variable("METHODS").split()]
        table = replace(table, variants=tuple(sweeps.Variant(trainer, cfg) for trainer, _, cfg in methods))
    table = replace(table, cfg=variable("CFG", table.cfg), shots=one_shots())
    return Plan("table1", table.runs(options), table.report, alone=True, jobs=2, threads=1)


PROTOCOLS = {
    "base2new": Protocol(base2new, 2, 4),
    "leave_classes_out": Protocol(leave_classes_out, 2, 4),
    "fewshot": Protocol(fewshot, 3, 4),
    "gzsl": Protocol(gzsl, 2, 4),
    "cross_dataset": Protocol(cross_dataset, 2, 99),
    "domain_generalization": Protocol(domain_generalization, 1, 3),
    "ablation": Protocol(ablation, 3, 4),
    "table1": Protocol(table1, 0, 99),
}
COMMON = """  KEY VALUE are configuration options of all runs, and name their own folder
  DATA=DIR   image root (empty: the shipped feature bank)     BANK=FILE  another feature bank
  OUTPUT=DIR folder of the results                            PYTHON=..., VENV=DIR   the Python to use
  --jobs N (or JOBS=N) runs side by side, --per-gpu K on each GPU, --slurm [KEY=VALUE ...] as jobs of Slurm
  --dry-run prints the commands, --status the table of what is done, running, failed, waiting; both run nothing
  --force (or FORCE=1) makes runs anew that are done, or whose results are another run's
  Done runs are skipped, broken off ones go on; a failed one fails the script, and is not tried again."""


def usage(name: str) -> str:
    lines = PROTOCOLS[name].plan.__doc__.splitlines()
    return "\n".join([*(line.removeprefix("    ") for line in lines), COMMON, listing()])
