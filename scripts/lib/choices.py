"""The datasets, trainers and configurations that there are: the files below configs/."""

from .run import ROOT, Run, UserError, config_files

PLACE = "configs/trainers"
LONGEST = 255  # characters of a file's name


def datasets() -> list[str]:
    return sorted(path.stem for path in (ROOT / "configs/datasets").glob("*.yaml"))


def trainers() -> dict[str, list[str]]:
    """{trainer: its configurations}"""
    folders = sorted(path for path in (ROOT / PLACE).glob("*") if path.is_dir())
    return {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}


def listing() -> str:
    """What usage and errors show."""
    lines = ["datasets:", *(f"  {name}" for name in datasets()), "trainers (and their configurations):"]
    lines += [f"  {name:<20} {' '.join(cfgs)}".rstrip() for name, cfgs in trainers().items()]
    plugins = sorted(path.name for path in (ROOT / "configs/plugins").glob("*") if path.is_dir())
    return "\n".join([*lines, f"plug-ins, behind a trainer's name as in CoOp_SHIP: {' '.join(plugins)}"])


def shortened(trainer: str, cfg: str) -> str:
    """The configuration of `trainer` that stands for `cfg`: vit_b16_ctxv1 -> vit_b16, where it has no such file.

    A name that no trainer has is a slip of the pen: it comes back as it is, and `check` says so.
    """
    found = cfg
    if any(cfg in cfgs for cfgs in trainers().values()):
        while not config_files(trainer, found) and "_" in found:
            found = found.rpartition("_")[0]
    return found if config_files(trainer, found) else cfg


def check(runs: list[Run]) -> None:
    """Raises UserError that names everything that is missing and lists what there is."""
    known, missing = datasets(), []
    for run in runs:
        for one in filter(None, (run.source, run)):
            if one.dataset not in known:
                missing.append(f"no dataset '{one.dataset}' (configs/datasets/{one.dataset}.yaml)")
            if len(one.config) > LONGEST:
                raise UserError(
                    f"the options make a folder's name of {len(one.config)} characters, and {LONGEST} are the most: "
                    f"{one.config}\nPut them into a configuration file, configs/trainers/{one.trainer}/<cfg>.yaml"
                )
            if not config_files(one.trainer, one.cfg):
                file = f"{PLACE}/{one.trainer}/{one.cfg}.yaml"
                missing.append(f"no configuration '{one.cfg}' of trainer '{one.trainer}' ({file})")
    if missing:
        raise UserError("\n       ".join(dict.fromkeys(missing)) + f". There are:\n{listing()}")
