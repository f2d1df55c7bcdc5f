"""What the steps of an epoch report. Values stay on the device until they are read: reading waits for a GPU."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class Steps:
    """`add` keeps a step's values; `read` fetches all that were added since, in one go for each name."""

    def __init__(self):
        self.done: list[dict[str, float]] = []  # what was read, a step each
        self._waiting: list[Mapping[str, Tensor | float]] = []

    def add(self, values: Mapping[str, Tensor | float]):
        """Values of one element each, of the same names in every step."""
        self._waiting.append(
            {name: value.detach() if isinstance(value, Tensor) else value for name, value in values.items()}
        )

    def read(self) -> list[dict[str, float]]:
        """The steps since the last reading."""
        names = self._waiting[0] if self._waiting else ()
        columns = {name: _numbers([values[name] for values in self._waiting]) for name in names}
        new = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        self.done += new
        self._waiting = []
        return new

    def broken(self) -> tuple[int, str, float] | None:
        """(step from 0, name, value) of the first value read that is not finite."""
        found = ((i, *item) for i, values in enumerate(self.done) for item in values.items())
        return next((item for item in found if not math.isfinite(item[2])), None)

    def means(self) -> dict[str, float]:
        """The mean of each name over the epoch's steps, summed in double precision."""
        return mean_of(self.done)


def mean_of(steps: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(values[name] for values in steps) / len(steps) for name in (steps[0] if steps else ())}


def _numbers(values) -> list[float]:
    if not isinstance(values[0], Tensor):
        return [float(value) for value in values]
    return torch.stack([value.reshape(()) for value in values]).tolist()
