"""Trains or evaluates one run: CoOp's flags, then KEY VALUE options of the config.

    python train.py --trainer CoOp_SHIP --dataset-config-file configs/datasets/caltech101.yaml \\
        --config-file configs/trainers/CoOp_SHIP/miniclip.yaml --seed 1 --output-dir output/demo TASK base2new

Without --root the dataset's shipped feature bank is used instead of images.
"""

import argparse
import os
import secrets
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "third_party")) if path not in sys.path]

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until something can be lost, Ctrl-C ends it without a traceback

import torch  # noqa: E402
from dassl.config import get_cfg_default  # noqa: E402
from dassl.config.files import with_bases  # noqa: E402
from dassl.data.datasets import DATASET_REGISTRY  # noqa: E402
from dassl.engine import TRAINER_REGISTRY, build_trainer  # noqa: E402
from dassl.utils import collect_env_info, set_random_seed, setup_logger  # noqa: E402

import datasets  # noqa: E402, F401  (registers the readers)
import trainers  # noqa: E402
from scripts.lib.faults import say_errors  # noqa: E402
from trainers.core import identity, run  # noqa: E402
from trainers.core.files import UserError, nearest, sha256_of  # noqa: E402
from trainers.core.signals import Interrupted, interruptible  # noqa: E402

BANKS = ROOT / "datasets" / "banks"
SEEDS = 2**32  # that NumPy takes, from 0


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", default="", help="folder that holds the datasets; without it the shipped feature bank is used"
    )
    parser.add_argument("--output-dir", default="", help="where log, checkpoints and results go")
    parser.add_argument("--resume", default="", help="output folder to continue from (default: --output-dir itself)")
    parser.add_argument("--seed", type=int, default=-1, help="of few-shot images and training; negative: one is drawn")
    parser.add_argument("--source-domains", nargs="+", help="source domains, where a dataset has domains")
    parser.add_argument("--target-domains", nargs="+", help="target domains, where a dataset has domains")
    parser.add_argument(
        "--transforms", nargs="+", help="training transforms, such as random_resized_crop random_flip normalize"
    )
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        help="of the trainer: configs/trainers/<Trainer>/<cfg>.yaml; given again, the next goes on top",
    )
    parser.add_argument("--dataset-config-file", default="", help="configs/datasets/<dataset>.yaml")
    parser.add_argument("--trainer", default="", help="registered name, such as CoOp_SHIP")
    parser.add_argument(
        "--backbone", default="", help="MiniCLIP, ViT-B/16, a file, open_clip:<model>/<pretrained>, ..."
    )
    parser.add_argument("--head", default="", help="name of the head, for trainers that have several")
    parser.add_argument("--eval-only", action="store_true", help="evaluate --model-dir and write results-<subset>.json")
    parser.add_argument("--model-dir", default="", help="output folder whose model to evaluate")
    parser.add_argument("--load-epoch", type=int, help="which epoch of it (default: the last)")
    parser.add_argument("--no-train", action="store_true", help="set everything up, but do not train")
    parser.add_argument(
        "--force", action="store_true", help="train anew; what --output-dir holds is moved to <output-dir>.replaced-<n>"
    )
    parser.add_argument("--print-config", action="store_true", help="print the resulting configuration, and stop")
    parser.add_argument("opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE pairs, as in the config files")
    return parser.parse_args(argv)


def setup_cfg(args):
    """Defaults, then the dataset's file, the trainer's file, the flags, the options; frozen. Raises UserError for
    unknown keys and names."""
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    if args.dataset_config_file:
        cfg.merge_from_file(args.dataset_config_file)
    if "DATASET.NAME" in args.opts[:-1:2]:  # the trainer's file may have values for it (PER_DATASET)
        cfg.DATASET.NAME = args.opts[args.opts.index("DATASET.NAME") + 1]
    for path in args.config_file:
        cfg.merge_from_file(path)
    flags = {
        "DATASET.ROOT": args.root,
        "OUTPUT_DIR": args.output_dir,
        "RESUME": args.resume,
        "SEED": args.seed if args.seed >= 0 else None,
        "DATASET.SOURCE_DOMAINS": args.source_domains,
        "DATASET.TARGET_DOMAINS": args.target_domains,
        "INPUT.TRANSFORMS": args.transforms,
        "TRAINER.NAME": args.trainer,
        "MODEL.BACKBONE.NAME": args.backbone,
        "MODEL.HEAD.NAME": args.head,
    }
    cfg.merge_from_list([item for key, value in flags.items() if value not in (None, "") for item in (key, value)])
    cfg.merge_from_list(args.opts)
    check_names(cfg)
    cfg.RUN.DATASET = cfg.RUN.DATASET or Path(args.dataset_config_file).stem
    cfg.RUN.CONFIG = cfg.RUN.CONFIG or Path(*args.config_file[:1]).stem
    if not cfg.DATASET.ROOT and not cfg.FEATURES.BANK:
        bank = shipped_bank(cfg, args.dataset_config_file)
        if bank.exists():
            cfg.FEATURES.BANK = str(bank)
        elif not args.print_config:  # that needs no data
            raise UserError(no_data(cfg, bank))
    if cfg.SEED >= SEEDS:
        raise UserError(f"the seed {cfg.SEED} is too large: --seed takes 0 to {SEEDS - 1}")
    if cfg.SEED < 0 and not (args.eval_only or args.print_config):
        cfg.SEED, cfg.RUN.UNSEEDED = drawn_seed("" if args.force else cfg.RESUME or cfg.OUTPUT_DIR), True
    cfg.USE_CUDA = cfg.USE_CUDA and torch.cuda.is_available()
    cfg.freeze()
    return cfg


def check_names(cfg):
    """Raises UserError, listing the known names nearest first, for a trainer or dataset that is not registered."""
    for what, name, registry, key in (
        ("trainer", cfg.TRAINER.NAME, TRAINER_REGISTRY, "--trainer"),
        ("dataset", cfg.DATASET.NAME, DATASET_REGISTRY, "--dataset-config-file"),
    ):
        known = registry.registered_names()
        if name not in known:
            reason = trainers.explain(name) if what == "trainer" else ""
            raise UserError(
                reason or f"{what} '{name}' ({key}) is unknown. Known, nearest first: {', '.join(nearest(name, known))}"
            )


def shipped_bank(cfg, dataset_config_file):
    """Where the bank of this dataset and backbone would be in datasets/banks/."""
    dataset = Path(dataset_config_file).stem or cfg.DATASET.NAME.lower()
    return BANKS / f"{dataset}_{cfg.MODEL.BACKBONE.NAME.lower().replace('/', '-')}.safetensors"


def no_data(cfg, bank):
    """What to say to a run without images and without the feature bank `bank`."""
    shipped = ", ".join(sorted(path.stem for path in bank.parent.glob("*.safetensors"))) or "none"
    return (
        f"no --root given, and no feature bank of {cfg.RUN.DATASET or cfg.DATASET.NAME} with {cfg.MODEL.BACKBONE.NAME} "
        f"is shipped ({shipped}). Give --root FOLDER with the dataset in it, or FEATURES.BANK FILE"
    )


def drawn_seed(output):
    """The seed of a run that was given none: what the one that began in `output` drew, else a new one."""
    if os.path.isfile(os.path.join(output, "config.yaml")):
        begun = trainers.run_config(output)
        if begun.RUN.UNSEEDED:
            return begun.SEED
    return secrets.randbelow(SEEDS)


def origin(words, args, cfg):
    """What results.json says of where a run comes from: its command line, and digests of the texts that it read."""
    given = filter(None, (args.dataset_config_file, *args.config_file))
    files = [*(file for path in given for file in with_bases(path)), *identity.texts(cfg)]
    paths = [Path(file).resolve() for file in files if os.path.isfile(file)]
    inputs = {str(path.relative_to(ROOT) if ROOT in path.parents else path): sha256_of(path) for path in paths}
    return {"command": ["train.py", *words], "inputs": inputs}


def differing_options(cfg):
    """A line for each option that is not at its default."""
    default = get_cfg_default()
    trainers.extend_cfg(default)
    before = dict(identity.leaves(default))
    changed = {key: value for key, value in identity.leaves(cfg) if before.get(key) != value}
    return "\n".join(["options that are not at their defaults:", *(f"  {key} {changed[key]}" for key in changed)])


def main(argv=None):
    words = sys.argv[1:] if argv is None else list(argv)
    args = parse_args(words)
    cfg = setup_cfg(args)
    if args.print_config:
        print(cfg.dump(), end="")
        return
    if args.force and (args.eval_only or args.no_train):
        raise UserError("--force is for training anew; leave it out with --eval-only and --no-train")
    with run.alone_in(cfg.OUTPUT_DIR):
        execute(args, cfg, origin(words, args, cfg))


def execute(args, cfg, origin):
    """Trains or evaluates, with the output folder to itself."""
    if args.force:
        run.set_aside(cfg.OUTPUT_DIR)
    if cfg.SEED >= 0:
        set_random_seed(cfg.SEED)
    if args.eval_only or not run.is_finished(cfg.OUTPUT_DIR):
        setup_logger(cfg.OUTPUT_DIR)
    if cfg.RUN.UNSEEDED:
        print(f"no --seed given: {cfg.SEED} was drawn; --seed {cfg.SEED} repeats this run")
    if cfg.VERBOSE:
        print(f"{differing_options(cfg)}\n{collect_env_info()}")  # names the Dassl in use, and any other
    trainer = build_trainer(cfg)
    trainer.origin = origin
    if args.eval_only:
        trainer.load_model(args.model_dir, epoch=args.load_epoch)
        getattr(trainer, "evaluate_only", trainer.test)()
    elif not args.no_train:
        trainer.train()


def program():
    """main(), stopped by signals in order. -> exit code"""
    try:
        with interruptible():
            main()
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.code
    return 0


if __name__ == "__main__":
    say_errors(program)
