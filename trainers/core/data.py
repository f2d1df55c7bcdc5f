"""Features of labelled images, each with one or more views (the random training views, or the one plain view of a test
image), and batches of them."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


class FeatureSet:
    """Features of N labelled images, each with one or more views.

    features [R, d] unit norm; offsets [N + 1]: the views of image i are rows offsets[i]:offsets[i + 1]; labels [N].
    """

    def __init__(self, features: Tensor, offsets: Tensor, labels: Tensor):
        self.features, self.offsets, self.labels = features, offsets, labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def views(self) -> Tensor:
        """Views per image [N]."""
        return self.offsets[1:] - self.offsets[:-1]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "FeatureSet":
        return FeatureSet(self.features.to(device, dtype), self.offsets.to(device), self.labels.to(device))

    def first(self) -> Tensor:
        """The first view of each image [N, d]."""
        return self.features[self.offsets[:-1]]

    def at_most(self, views: int) -> "FeatureSet":
        """The same images with the first `views` views of each."""
        if not len(self) or int(self.views.max()) <= views:
            return self
        place = torch.arange(len(self.features)) - self.offsets[:-1].repeat_interleave(self.views)
        offsets = torch.cat([self.offsets[:1], self.views.clamp(max=views).cumsum(0)])
        return FeatureSet(self.features[place < views], offsets, self.labels)

    def draw(self, index: Tensor) -> Tensor:
        """One view at random for each image of `index` [B] -> features [B, d], by torch's global generator."""
        index = to_device(index, self.offsets.device)
        views = self.views[index]
        pick = (to_device(torch.rand(len(index)), views.device) * views).long()
        return self.features[self.offsets[index] + pick.clamp(max=views - 1)]

    def mean(self) -> Tensor:
        """The average over views of each image, back on the unit sphere [N, d]."""
        owner = torch.repeat_interleave(torch.arange(len(self), device=self.offsets.device), self.views)
        total = self.features.new_zeros(len(self), self.features.shape[1]).index_add_(0, owner, self.features)
        return torch.nn.functional.normalize(total, dim=-1)

    def select(self, keep: Tensor | Sequence[int]) -> "FeatureSet":
        """The images of `keep` (indices or a boolean mask, [N])."""
        keep = torch.as_tensor(keep, device=self.labels.device)
        keep = keep.nonzero().flatten() if keep.dtype == torch.bool else keep
        rows = [torch.arange(self.offsets[i], self.offsets[i + 1], device=self.labels.device) for i in keep.tolist()]
        offsets = torch.cat([self.offsets.new_zeros(1), self.views[keep].cumsum(0)])
        return FeatureSet(self.features[torch.cat(rows)] if rows else self.features[:0], offsets, self.labels[keep])

    @staticmethod
    def join(sets: Iterable["FeatureSet"]) -> "FeatureSet":
        """The images of several sets, one after another."""
        sets = list(sets)
        offsets = torch.cat([sets[0].offsets[:1], torch.cat([s.views for s in sets]).cumsum(0)])
        return FeatureSet(torch.cat([s.features for s in sets]), offsets, torch.cat([s.labels for s in sets]))


class FeatureTable:
    """Features by image path: what one list of images became. features [R, d], offsets [N + 1], paths N relative
    paths."""

    def __init__(self, features: Tensor, offsets: Tensor, paths: Iterable[str]):
        self.features, self.offsets = features, offsets
        self.row = {path: i for i, path in enumerate(paths)}

    @property
    def unreadable(self) -> set[str]:
        """Paths of the images without a view."""
        paths = list(self.row)
        return {paths[i] for i in (self.offsets.diff() == 0).nonzero().flatten().tolist()}

    @staticmethod
    def join(tables: Sequence["FeatureTable"]) -> "FeatureTable":
        """One table of the images of several, which have no image in common."""
        if len(tables) == 1:
            return tables[0]
        offsets = torch.cat([torch.zeros(1, dtype=torch.long)] + [table.offsets.diff() for table in tables]).cumsum(0)
        return FeatureTable(
            torch.cat([table.features for table in tables]), offsets, [path for table in tables for path in table.row]
        )

    def lookup(self, paths: Iterable[str], labels: Sequence[int]) -> FeatureSet:
        """-> FeatureSet of the images at `paths`; images without a view (skipped as unreadable) are left out."""
        rows = torch.tensor([self.row[path] for path in paths], dtype=torch.long)
        images = FeatureSet(self.features, self.offsets, torch.zeros(len(self.row), dtype=torch.long)).select(rows)
        images = FeatureSet(images.features, images.offsets, torch.tensor(labels, dtype=torch.long))
        return images if bool((images.views > 0).all()) else images.select(images.views > 0)


def batches(count, batch_size, drop_last):
    """How many batches an epoch over `count` items has. With `drop_last` a last partial batch is left out, unless it
    is the only one: Dassl's rule, which not all published code follows."""
    return max(count // batch_size, 1) if drop_last else -(-count // batch_size)


class FeatureLoader:
    """Iterates over a FeatureSet in random order, one random view per image and epoch, by torch's global generator.

    Yields {"features": [B, d], "label": [B]}.
    """

    def __init__(self, features, batch_size, drop_last=True):
        self.features, self.batch_size, self.drop_last = features, batch_size, drop_last

    def __len__(self):
        return batches(len(self.features), self.batch_size, self.drop_last)

    def __iter__(self):
        order = torch.randperm(len(self.features))
        for index in order.split(self.batch_size)[: len(self)]:
            yield {
                "features": self.features.draw(index),
                "label": self.features.labels[to_device(index, self.features.labels.device)],
            }


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """`tensor` on `device`. To a GPU by way of pinned memory, so that the host does not wait for what the GPU does."""
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
