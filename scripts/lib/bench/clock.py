"""Seconds, multiply-adds and the rate of matrix products."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Clock:
    """`device` is waited for before and after; `cpu`: CPU seconds of this process in place of wall time."""

    device: torch.device
    cpu: bool = False

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.process_time() if self.cpu else time.perf_counter()

    def seconds(self, *steps: Callable, repeats: int) -> list[float]:
        """Median seconds of each step, after one that is not counted. They take turns: a busy spell hits them all."""
        times: list[list[float]] = [[] for _ in steps]
        for _ in range(repeats + 1):
            for step, taken in zip(steps, times, strict=True):
                start = self.now()
                step()
                taken.append(self.now() - start)
        return [statistics.median(taken[1:] or taken) for taken in times]

    def rate(self, rows: int, width: int) -> float:
        """Multiply-adds a second of [rows, width] times [width, 4 width]: the products of the tower's largest layer."""
        a, b = (torch.randn(*shape, device=self.device) for shape in ((rows, width), (width, 4 * width)))
        times = max(1, min(50, int(2e9 / (rows * width * width * 4))))
        (taken,) = self.seconds(lambda: [a @ b for _ in range(times)], repeats=5)
        return times * rows * width * width * 4 / taken


def multiply_adds(step: Callable) -> float:
    """Of the matrix products, convolutions and attention that `step` runs, counted from their shapes."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / 2
