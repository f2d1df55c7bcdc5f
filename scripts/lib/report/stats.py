"""Numbers: mean, deviation, and the two rules for the harmonic mean H."""

import math
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev

Sample = dict[int, tuple[float, ...]]  # seed -> a number's parts: itself, or the two that its harmonic mean is made of


@dataclass(frozen=True)
class Cell:
    """A number of a table, or its words. Without either it is shown as "-". `note` becomes a footnote."""

    mean: float | None = None
    spread: float | None = None
    note: str = ""
    signed: bool = False  # a difference: shows its plus sign
    words: str = ""
    seeds: dict[int, float] = field(default_factory=dict)
    folders: dict[int, Path] = field(default_factory=dict)  # seed -> its run

    def text(self, digits: int = 2) -> str:
        if self.mean is None:
            return self.words or "-"
        text = f"{self.mean:{'+' if self.signed else ''}.{digits}f}"
        return text if self.spread is None else f"{text} ± {self.spread:.{digits}f}"


def spread_name(options: Namespace) -> str:
    return "95% interval" if options.ci95 else "population deviation"


def harmonic(a: float, b: float) -> float:
    """H = 2ab / (a + b), 0 where both are 0."""
    return 2 * a * b / (a + b) if a + b else 0.0


def whole(parts: Sequence[float]) -> float:
    return harmonic(*parts) if len(parts) == 2 else parts[0]


def summarise(samples: Sequence[Sample], options: Namespace) -> Cell:
    """Of one dataset, or the average of several: the mean over datasets of the means over seeds, and H of such means.

    The spread is that of each seed's number. It is given only where all datasets have the same seeds, more than one."""
    if options.mean_of_h:
        samples = [{seed: (whole(parts),) for seed, parts in sample.items()} for sample in samples]
    seeds = sorted(samples[0]) if all(sample.keys() == samples[0].keys() for sample in samples) else ()
    each = {seed: _centre([{seed: sample[seed]} for sample in samples]) for seed in seeds}
    # the deviation is that of the population (ddof 0), the interval as CoOp's parse_test_res.py has it
    scale = 1.96 / math.sqrt(len(each) or 1) if options.ci95 else 1
    return Cell(_centre(samples), pstdev(each.values()) * scale if len(each) > 1 else None, seeds=each)


def _centre(samples: Sequence[Sample]) -> float:
    means = [[*map(fmean, zip(*sample.values(), strict=True))] for sample in samples]
    return whole([*map(fmean, zip(*means, strict=True))])
