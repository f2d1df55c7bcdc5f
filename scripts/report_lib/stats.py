"""Numbers: mean, deviation, and the two rules for the harmonic mean H."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Stat:
    """How a table sums up seeds and datasets."""

    ci95: bool = False  # half width of the 95% interval, as CoOp's parse_test_res.py has it, instead of the deviation
    mean_of_h: bool = False  # mean of the H of seeds and datasets, instead of H of the means

    @property
    def spread_name(self) -> str:
        return "95% interval" if self.ci95 else "population deviation"


@dataclass(frozen=True)
class Cell:
    """A number of a table; mean None is shown as "-". `note` becomes a footnote."""

    mean: float | None = None
    spread: float | None = None
    note: str = ""
    signed: bool = False  # a difference: shows its plus sign

    def text(self, digits: int = 2) -> str:
        if self.mean is None:
            return "-"
        text = f"{self.mean:{'+' if self.signed else ''}.{digits}f}"
        return text if self.spread is None else f"{text} ± {self.spread:.{digits}f}"

    def with_note(self, note: str) -> "Cell":
        return replace(self, note="; ".join(part for part in (self.note, note) if part))


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """Of the population (ddof 0), as CoOp's scripts have it."""
    centre = mean(values)
    return math.sqrt(mean([(value - centre) ** 2 for value in values]))


def spread(values: Sequence[float], stat: Stat) -> float | None:
    """None for a single value: nothing is known of its deviation."""
    if len(values) < 2:
        return None
    return 1.96 * deviation(values) / math.sqrt(len(values)) if stat.ci95 else deviation(values)


def harmonic(a: float, b: float) -> float:
    """H = 2ab / (a + b), 0 where both are 0."""
    return 2 * a * b / (a + b) if a + b else 0.0


def summarise(values: Sequence[float], stat: Stat) -> Cell:
    return Cell(mean(values), spread(values, stat)) if values else Cell()


def summarise_h(pairs: Sequence[tuple[float, float]], stat: Stat) -> Cell:
    """H of pairs, one a seed: H of the two means, or with `mean_of_h` the mean of the pairs' H, whose spread it has."""
    if not pairs:
        return Cell()
    each = [harmonic(a, b) for a, b in pairs]
    h = mean(each) if stat.mean_of_h else harmonic(mean([a for a, _ in pairs]), mean([b for _, b in pairs]))
    return Cell(h, spread(each, stat))
