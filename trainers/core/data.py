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

    def draw(self, index: Tensor) -> Tensor:
        """One view at random for each image of `index` [B] -> features [B, d], by torch's global generator."""
        index = to_device(index, self.offsets.device)
        first = self.offsets[index]
        views = self.offsets[index + 1] - first  # of the batch alone: an epoch over many images has many batches
        pick = (to_device(torch.rand(len(index)), views.device) * views).long()
        return self.features[first + pick.clamp(max=views - 1)]

    def mean(self) -> Tensor:
        """The average over views of each image, back on the unit sphere [N, d]."""
        owner = torch.repeat_interleave(torch.arange(len(self), device=self.offsets.device), self.views)
        total = self.features.new_zeros(len(self), self.features.shape[1]).index_add_(0, owner, self.features)
        return torch.nn.functional.normalize(total, dim=-1)

    def select(self, keep: Tensor | Sequence[int]) -> "FeatureSet":
        """The images of `keep` (indices or a boolean mask, [N])."""
        keep = torch.as_tensor(keep, device=self.labels.device)
        keep = keep.nonzero().flatten() if keep.dtype == torch.bool else keep.long()
        rows, offsets = rows_of(self.offsets, keep)
        return FeatureSet(self.features[rows], offsets, self.labels[keep])

    @staticmethod
    def join(sets: Iterable["FeatureSet"]) -> "FeatureSet":
        """The images of several sets, one after another."""
        sets = list(sets)
        offsets = torch.cat([sets[0].offsets[:1], torch.cat([s.views for s in sets]).cumsum(0)])
        return FeatureSet(torch.cat([s.features for s in sets]), offsets, torch.cat([s.labels for s in sets]))


def rows_of(offsets: Tensor, images: Tensor, at_most: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of the views of `images` [n], one image after another, and the offsets among them [n + 1]; of each image the
    first `at_most` views, or all of them."""
    views = offsets.diff()[images]
    if at_most:
        views = views.clamp(max=at_most)
    among = torch.cat([offsets.new_zeros(1), views.cumsum(0)])
    rows = torch.arange(int(among[-1]), device=offsets.device)
    return rows + (offsets[images] - among[:-1]).repeat_interleave(views), among


class Rows:
    """Rows [R, d] of several tensors (or of what a file holds), one after another; read when `[rows]` asks for them."""

    def __init__(self, pieces: Sequence):
        lengths = torch.tensor([len(piece) for piece in pieces])
        self.pieces, self.ends = list(pieces), lengths.cumsum(0)
        self.starts, self.dtype = self.ends - lengths, pieces[0].dtype
        self.shape = torch.Size([int(self.ends[-1]), pieces[0].shape[1]])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        owner = torch.bucketize(rows, self.ends, right=True)
        features = torch.empty(len(rows), self.shape[1], dtype=self.dtype)
        for i in owner.unique().tolist():
            here = (owner == i).nonzero().flatten()
            features[here] = self.pieces[i][rows[here] - self.starts[i]]
        return features


class FeatureTable:
    """Features by image path: what one list of images became. features [R, d], a tensor or what reads rows when they
    are asked for; offsets [N + 1]; paths N relative paths."""

    def __init__(self, features, offsets: Tensor, paths: Iterable[str]):
        self.features, self.offsets, self.paths = features, offsets, list(paths)

    def find(self, paths: Iterable[str]) -> dict[str, int]:
        """{path: place} of those `paths` that the table has; a dict of all would take long for a million."""
        wanted = {*paths}
        return {path: i for i, path in enumerate(self.paths) if path in wanted}

    @property
    def unreadable(self) -> set[str]:
        """Paths of the images without a view."""
        return {self.paths[i] for i in (self.offsets.diff() == 0).nonzero().flatten().tolist()}

    @staticmethod
    def join(tables: Sequence["FeatureTable"]) -> "FeatureTable":
        """One table of the images of several, which have no image in common; nothing is copied."""
        offsets = torch.cat([torch.zeros(1, dtype=torch.long)] + [table.offsets.diff() for table in tables]).cumsum(0)
        paths = [path for table in tables for path in table.paths]
        return FeatureTable(Rows([table.features for table in tables]), offsets, paths)

    def take(self, images: Sequence[int], labels: Sequence[int], at_most: int = 0) -> FeatureSet:
        """-> FeatureSet of the images at these places, with the first `at_most` views of each, or all of them; images
        without a view (skipped as unreadable) are left out."""
        place = torch.tensor(images, dtype=torch.long)
        has_view = self.offsets[place + 1] > self.offsets[place]
        rows, offsets = rows_of(self.offsets, place[has_view], at_most)
        return FeatureSet(self.features[rows], offsets, torch.tensor(labels, dtype=torch.long)[has_view])


# Random views of a training image that are kept with FEATURES.VIEWS 0, where batches are of images: for what trains on
# features alone, a generator or a cache.
VIEWS_BESIDE_IMAGES = 16


class Store:
    """Where the features of images come from: a bank, the cache, or images in memory. It has a table for each number of
    views, to which images are added when they are first asked for."""

    encode_image = None  # of a trainer that tunes the image tower

    def __init__(self, views: int):
        """`views`: how many random views a training image has at most; in the methods 0 stands for the plain view."""
        self.views, self.tables = views, dict[int, FeatureTable]()
        self.unreadable: set[str] = set()  # images that were asked for and have no features
        self.faults: dict[str, str] = {}  # {path: why}, of those that were read here

    def table(self, files: list[str], views: int) -> FeatureTable:
        """The features of images that no table has yet."""
        raise NotImplementedError

    def relative(self, file: str) -> str:
        """What a table calls an image."""
        return file

    def training_views(self, items) -> FeatureSet:
        """Random training views of the images of `items` (Datum)."""
        return self._features(items, self.views)

    def plain_views(self, items) -> FeatureSet:
        """The plain view."""
        return self._features(items, 0)

    def _features(self, items, views):
        paths, table = [self.relative(item.impath) for item in items], self.tables.get(views)
        place = table.find(paths) if table else {}
        new = dict.fromkeys(item.impath for item, path in zip(items, paths) if path not in place)
        if table is None or new:
            added = self.table(list(new), views)
            table = self.tables[views] = added if table is None else FeatureTable.join([table, added])
            place = table.find(paths)
        found = table.take([place[path] for path in paths], [item.label for item in items], views)
        if len(found) < len(items):
            bad = table.unreadable
            self.unreadable |= {item.impath for item, path in zip(items, paths) if path in bad}
        return found


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
