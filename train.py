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
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "third_party")) if path not in sys.path]

from scripts.lib.faults import say_errors  # noqa: E402
from trainers.core.files import UserError  # noqa: E402

TEXT, NUMBER, WORDS, SWITCH = {"default": ""}, {"type": int}, {"nargs": "+"}, {"action": "store_true"}
FILES = {"action": "append", "default": []}
FLAGS = [  # flag, the option that it sets, what argparse needs to know, help
    ("--root", "DATASET.ROOT", TEXT, "folder that holds the datasets; without it the shipped feature bank is used"),
    ("--output-dir", "OUTPUT_DIR", TEXT, "where log, checkpoints and results go"),
    ("--resume", "RESUME", TEXT, "output folder to continue from (default: --output-dir itself)"),
    ("--seed", "SEED", NUMBER, "of few-shot images and training; negative, or left out: one is drawn"),
    ("--source-domains", "DATASET.SOURCE_DOMAINS", WORDS, "source domains, where a dataset has domains"),
    ("--target-domains", "DATASET.TARGET_DOMAINS", WORDS, "target domains, where a dataset has domains"),
    ("--transforms", "INPUT.TRANSFORMS", WORDS, "such as random_resized_crop random_flip normalize"),
    ("--config-file", "", FILES, "configs/trainers/<Trainer>/<cfg>.yaml; given again, the next goes on top"),
    ("--dataset-config-file", "", TEXT, "configs/datasets/<dataset>.yaml"),
    ("--trainer", "TRAINER.NAME", TEXT, "registered name, such as CoOp_SHIP"),
    ("--backbone", "MODEL.BACKBONE.NAME", TEXT, "MiniCLIP, ViT-B/16, a file, open_clip:<model>/<pretrained>, ..."),
    ("--head", "MODEL.HEAD.NAME", TEXT, "name of the head, for trainers that have several"),
    ("--eval-only", "", SWITCH, "evaluate --model-dir and write results-<subset>.json"),
    ("--model-dir", "", TEXT, "output folder whose model to evaluate"),
    ("--load-epoch", "", NUMBER, "which epoch of it (default: the last)"),
    ("--no-train", "", SWITCH, "set everything up, but do not train"),
    ("--force", "", SWITCH, "train anew; what --output-dir holds is moved to <output-dir>.replaced-<n>"),
    ("--print-config", "", SWITCH, "print the resulting configuration, and stop"),
    ("opts", "", {"nargs": argparse.REMAINDER, "default": []}, "KEY VALUE pairs, as in the config files"),
]


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, _, kind, text in FLAGS:
        parser.add_argument(flag, help=text, **kind)
    args = parser.parse_args(argv)
    late = [word for word in args.opts if word.startswith("--")]
    if late:
        raise UserError(f"flags stand before the KEY VALUE options: put {late[0]} in front of {args.opts[0]}")
    if args.force and (args.eval_only or args.no_train):
        raise UserError("--force is for training anew; leave it out with --eval-only and --no-train")
    return args


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until something can be lost, Ctrl-C ends it without a traceback
    if {"-h", "--help"} & {*sys.argv}:
        say_errors(parse_args)  # before PyTorch is loaded

import torch  # noqa: E402
from dassl.config import get_cfg_default  # noqa: E402
from dassl.data.datasets import DATASET_REGISTRY  # noqa: E402
from dassl.engine import TRAINER_REGISTRY, build_trainer  # noqa: E402
from dassl.utils import collect_env_info, set_random_seed, setup_logger  # noqa: E402

import datasets  # noqa: E402, F401  (registers the readers)
import trainers  # noqa: E402
from trainers.core import identity, run  # noqa: E402
from trainers.core.files import RESULTS  # noqa: E402

BANKS = ROOT / "datasets" / "banks"
SIGNALS = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]  # Windows has no SIGHUP
ECHO = 0.5  # seconds
SEEDS = 2**32  # that NumPy takes, from 0


def setup_cfg(args):
    """Defaults, then the dataset's file, the trainer's file, the flags, the options; frozen. Raises UserError for
    unknown keys and names."""
    cfg = with_defaults()
    if args.dataset_config_file:
        cfg.merge_from_file(args.dataset_config_file)
    cfg.merge_from_list(args.opts)  # DATASET.NAME, if it is there: the trainer's file may have values for it
    for path in args.config_file:
        cfg.merge_from_file(path)
    for flag, key, *_ in FLAGS:
        value = getattr(args, flag.strip("-").replace("-", "_"))
        if key and value not in (None, ""):
            cfg.merge_from_list([key, value])
    cfg.merge_from_list(args.opts)
    if cfg.TRAINER.NAME not in TRAINER_REGISTRY and (reason := trainers.explain(cfg.TRAINER.NAME)):
        raise UserError(reason)
    for registry, name in ((TRAINER_REGISTRY, cfg.TRAINER.NAME), (DATASET_REGISTRY, cfg.DATASET.NAME)):
        registry.get(name)  # raises UnknownName, with the nearest ones
    cfg.RUN.DATASET = cfg.RUN.DATASET or Path(args.dataset_config_file).stem
    cfg.RUN.CONFIG = cfg.RUN.CONFIG or Path(*args.config_file[:1]).stem
    if not cfg.DATASET.ROOT and not cfg.FEATURES.BANK:
        use_shipped_bank(cfg, Path(args.dataset_config_file).stem or cfg.DATASET.NAME.lower(), not args.print_config)
    if cfg.SEED >= SEEDS:
        raise UserError(f"the seed {cfg.SEED} is too large: --seed takes 0 to {SEEDS - 1}")
    if cfg.SEED < 0 and not (args.eval_only or args.print_config):
        cfg.SEED, cfg.RUN.UNSEEDED = drawn_seed("" if args.force else cfg.RESUME or cfg.OUTPUT_DIR), True
    cfg.USE_CUDA = cfg.USE_CUDA and torch.cuda.is_available()
    cfg.freeze()
    return cfg


def with_defaults():
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    return cfg


def use_shipped_bank(cfg, dataset, required):
    """Sets FEATURES.BANK to that of this data set and backbone in datasets/banks/. Raises UserError where there is none
    and it is `required`."""
    bank = BANKS / f"{dataset}_{cfg.MODEL.BACKBONE.NAME.lower().replace('/', '-')}.safetensors"
    if bank.exists():
        cfg.FEATURES.BANK = str(bank)
    elif required:
        raise UserError(f"no feature bank {bank.name} is shipped: give --root FOLDER, or FEATURES.BANK FILE")


def drawn_seed(output):
    """The seed of a run that was given none: what the one that began in `output` drew, else a new one."""
    if os.path.isfile(os.path.join(output, "config.yaml")):
        begun = trainers.run_config(output)
        if begun.RUN.UNSEEDED:
            return begun.SEED
    return secrets.randbelow(SEEDS)


def differing_options(cfg):
    """A line for each option that is not at its default."""
    default = dict(identity.leaves(with_defaults()))
    changed = [f"  {key} {value}" for key, value in identity.leaves(cfg) if default.get(key) != value]
    return "\n".join(["options that are not at their defaults:", *changed])


def main(argv=None):
    """Trains or evaluates, with the output folder to itself."""
    words = sys.argv[1:] if argv is None else list(argv)
    args = parse_args(words)
    cfg = setup_cfg(args)
    if args.print_config:
        print(cfg.dump(), end="")
        return
    with run.alone_in(cfg.OUTPUT_DIR):
        if args.force:
            run.set_aside_run(cfg.OUTPUT_DIR)
        if cfg.SEED >= 0:
            set_random_seed(cfg.SEED)
        if args.eval_only or not os.path.isfile(os.path.join(cfg.OUTPUT_DIR, RESULTS)):
            setup_logger(cfg.OUTPUT_DIR)
        if cfg.RUN.UNSEEDED:
            print(f"no --seed given: {cfg.SEED} was drawn; --seed {cfg.SEED} repeats this run")
        if cfg.VERBOSE:
            print(f"{differing_options(cfg)}\n{collect_env_info()}")  # names the Dassl in use, and any other
        trainer = build_trainer(cfg)
        trainer.origin = {"command": ["train.py", *words]}
        if args.eval_only:
            trainer.load_model(args.model_dir, epoch=args.load_epoch)
            getattr(trainer, "evaluate_only", trainer.test)()
        elif not args.no_train:
            trainer.train()


def interrupt(number, frame):
    """What the first signal does: it ends the run with a line that says how to go on, exit code 130 for SIGINT, 143 for
    SIGTERM. A second one ends the process at once, unless it is the first one's echo, as a cluster may send it."""
    began = time.monotonic()

    def end(number, frame):
        if time.monotonic() - began > ECHO:
            os._exit(128 + number)

    for each in SIGNALS:
        signal.signal(each, end)
    name = signal.Signals(number).name
    # not print, in the middle of which the signal may have come
    os.write(2, f"\ninterrupted by {name}; the same command goes on from the last checkpoint\n".encode())
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
            signal.signal(number, interrupt)
    say_errors(main)
