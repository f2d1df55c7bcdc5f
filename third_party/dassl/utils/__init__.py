from ..lazy import attach

__getattr__, __all__ = attach(
    __name__,
    {
        "errors": [
            "DamagedCheckpoint",
            "DuplicateName",
            "MissingFile",
            "NonFiniteLoss",
            "UnknownName",
            "UnreadableImage",
            "UserError",
            "brief",
            "nearest",
        ],
        "files": [
            "atomic_path",
            "check_isfile",
            "check_regular",
            "listdir_nohidden",
            "mkdir_if_missing",
            "read_json",
            "read_text",
            "write_json",
        ],
        "logger": ["Logger", "setup_logger"],
        "meters": ["AverageMeter", "MetricMeter"],
        "registry": ["Registry"],
        "tools": ["collect_env_info", "other_installs", "read_image", "set_random_seed", "tolist_if_not"],
        "torchtools": [
            "count_num_param",
            "load_checkpoint",
            "load_pretrained_weights",
            "resume_from_checkpoint",
            "save_checkpoint",
        ],
        "unpickling": [],
    },
)
