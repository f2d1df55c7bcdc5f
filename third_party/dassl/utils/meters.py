"""Running means of what a training loop reports."""

import torch


class AverageMeter:
    """The last value (`val`) and the mean so far (`avg`) of a number; with `ema` an exponential mean, decay 0.9."""

    def __init__(self, ema=False):
        self.ema = ema
        self.reset()

    def reset(self):
        self.val = self.avg = self.sum = 0.0
        self.count = 0

    def update(self, val, n=1):
        """Add a value that stands for `n` samples."""
        self.val = val.item() if isinstance(val, torch.Tensor) else val
        self.sum += self.val * n
        self.count += n
        self.avg = 0.9 * self.avg + 0.1 * self.val if self.ema else self.sum / self.count


class MetricMeter:
    """One AverageMeter per name; prints as `name value (mean)`, joined by `delimiter`."""

    def __init__(self, delimiter=" "):
        self.meters = {}
        self.delimiter = delimiter

    def update(self, input_dict):
        """Add a dict of name -> number; None adds nothing."""
        if input_dict is None:
            return
        if not isinstance(input_dict, dict):
            raise TypeError(f"expected a dict of metrics, got {type(input_dict).__name__}")
        for name, value in input_dict.items():
            self.meters.setdefault(name, AverageMeter()).update(value)

    def __str__(self):
        return self.delimiter.join(f"{name} {m.val:.4f} ({m.avg:.4f})" for name, m in self.meters.items())
