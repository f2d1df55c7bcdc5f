from .build import TRAINER_REGISTRY, build_trainer
from .trainer import SimpleTrainer, TrainerBase, TrainerX

__all__ = ["SimpleTrainer", "TRAINER_REGISTRY", "TrainerBase", "TrainerX", "build_trainer"]
