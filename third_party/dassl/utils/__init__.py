from .errors import (
    DamagedCheckpoint,
    DuplicateName,
    MissingFile,
    NonFiniteLoss,
    UnknownName,
    UnreadableImage,
    UserError,
    brief,
    nearest,
)
from .files import (
    atomic_path,
    check_isfile,
    check_regular,
    listdir_nohidden,
    mkdir_if_missing,
    read_json,
    read_text,
    write_json,
)
from .logger import Logger, setup_logger
from .meters import AverageMeter, MetricMeter
from .registry import Registry
from .tools import collect_env_info, other_installs, read_image, set_random_seed, tolist_if_not
from .torchtools import (
    count_num_param,
    load_checkpoint,
    load_pretrained_weights,
    resume_from_checkpoint,
    save_checkpoint,
)

__all__ = [
    "AverageMeter",
    "DamagedCheckpoint",
    "DuplicateName",
    "Logger",
    "MetricMeter",
    "MissingFile",
    "NonFiniteLoss",
    "Registry",
    "UnknownName",
    "UnreadableImage",
    "UserError",
    "atomic_path",
    "brief",
    "check_isfile",
    "check_regular",
    "collect_env_info",
    "count_num_param",
    "listdir_nohidden",
    "load_checkpoint",
    "load_pretrained_weights",
    "mkdir_if_missing",
    "nearest",
    "other_installs",
    "read_image",
    "read_json",
    "read_text",
    "resume_from_checkpoint",
    "save_checkpoint",
    "set_random_seed",
    "setup_logger",
    "tolist_if_not",
    "write_json",
]
