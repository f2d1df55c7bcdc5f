"""The checkpoint files of a run's head: Dassl's files and folders, a rolling one, and which of them counts."""

import os
import time

from dassl.utils import load_checkpoint, save_checkpoint

from ..errors import UserError

BEST = "model-best.pth.tar"
ROLLING = "model-rolling.pth.tar"  # overwritten while training goes on, removed when the last epoch is saved
POINTER = "checkpoint"  # a text file with the name of the newest


class Checkpoints:
    """Those in `directory`/`name`/; `directory` is a run's output folder."""

    def __init__(self, directory: str, name: str):
        self.directory, self.folder = directory, os.path.join(directory or "", name)
        self._rolled = -float("inf")

    def newest(self) -> str | None:
        """Path of the file that the pointer names, or None."""
        pointer = os.path.join(self.folder, POINTER)
        if not self.directory or not os.path.isfile(pointer):
            return None
        with open(pointer) as file:
            return os.path.join(self.folder, file.readline().strip())

    def that_counts(self) -> str | None:
        """Path of the best one on validation where one was kept, else of the newest, or None."""
        best = os.path.join(self.folder, BEST)
        return best if os.path.exists(best) else self.newest()

    def find(self, epoch: int | None = None) -> str:
        """Path of the one after `epoch` epochs, else of the one that counts. Raises UserError where there is none."""
        path = self.that_counts() if epoch is None else os.path.join(self.folder, f"model.pth.tar-{epoch}")
        if path is None or not os.path.exists(path):
            raise UserError(
                f"no checkpoint {path or f'in {self.folder}'}; --model-dir expects the output folder of a finished "
                "run, --load-epoch one of its epochs"
            )
        return path

    def write(self, state: dict, name: str = "", is_best: bool = False):
        """Writes `state` atomically, as model.pth.tar-<state["epoch"]> unless it has another `name`."""
        save_checkpoint(state, self.folder, is_best=is_best, model_name=name)

    def rewrite_final(self, final_model: str, **changes):
        """Puts `changes` into the file that counts: the best one for TEST.FINAL_MODEL best_val, else the newest."""
        path = os.path.join(self.folder, BEST) if final_model == "best_val" else self.newest()
        if path is None:
            raise UserError(f"no checkpoint in {self.folder} to write {', '.join(changes)} into")
        self.write({**load_checkpoint(path), **changes}, name=os.path.basename(path))

    def drop_rolling(self):
        rolling = os.path.join(self.folder, ROLLING)
        if os.path.exists(rolling):
            os.remove(rolling)

    def roll(self, state, seconds: float):
        """Writes what `state()` gives as the rolling one, unless the last was less than `seconds` ago."""
        if time.monotonic() - self._rolled >= seconds:
            self.write(state(), name=ROLLING)
            self._rolled = time.monotonic()
