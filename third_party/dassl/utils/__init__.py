from .errors import (
    DamagedCheckpoint,
    DuplicateName,
    MissingFile,
    NonFiniteLoss,
    UnknownName,
    UnreadableImage,
    UserError,
    nearest,
)
from .files import atomic_path, check_isfile, listdir_nohidden, mkdir_if_missing, read_json, write_json
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
