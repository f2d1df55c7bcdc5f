"""The order in which a loader visits a list of Datum."""

import random
from collections import defaultdict

from torch.utils.data.sampler import RandomSampler, Sampler, SequentialSampler

from ..utils import UnknownName, UserError, nearest


class _DomainSampler(Sampler):
    """Batches with equally many items of each of `n_domain` domains, without replacement.

    An epoch ends when a domain cannot fill its share of another batch; one that cannot fill the first is a UserError.
    """

    def __init__(self, data_source, batch_size, n_domain):
        self.data_source, self.batch_size = data_source, batch_size
        self.groups = _positions(data_source, lambda item: item.domain)
        self.n_domain = n_domain if n_domain and n_domain > 0 else len(self.groups)
        if self.n_domain > len(self.groups) or batch_size % self.n_domain:
            raise UserError(
                f"batch size {batch_size} cannot be shared by {self.n_domain} domains of the {len(self.groups)} there "
                "are: set BATCH_SIZE to a multiple of N_DOMAIN"
            )
        self.share = batch_size // self.n_domain
        smallest = min(self.groups, key=lambda domain: len(self.groups[domain]))
        if len(self.groups[smallest]) < self.share:
            raise UserError(
                f"domain {smallest} has {len(self.groups[smallest])} items, a batch of {batch_size} over "
                f"{self.n_domain} domains takes {self.share} of it: set a smaller BATCH_SIZE"
            )
        self.length = len(list(iter(self)))

    def domains_of_batch(self):
        """The domains of the next batch, in its order."""
        raise NotImplementedError

    def __iter__(self):
        left = {domain: random.sample(items, len(items)) for domain, items in self.groups.items()}
        order = []
        while all(len(items) >= self.share for items in left.values()):
            for domain in self.domains_of_batch():
                order += [left[domain].pop() for _ in range(self.share)]
        return iter(order)

    def __len__(self):
        return self.length


class RandomDomainSampler(_DomainSampler):
    """Batches over `n_domain` domains (None or not positive: all), which are drawn anew for each batch."""

    def __init__(self, data_source, batch_size, n_domain):
        super().__init__(data_source, batch_size, n_domain)

    def domains_of_batch(self):
        return random.sample(list(self.groups), self.n_domain)


class SeqDomainSampler(_DomainSampler):
    """Batches over all domains, which always come in the order of their numbers."""

    def __init__(self, data_source, batch_size):
        super().__init__(data_source, batch_size, n_domain=None)

    def domains_of_batch(self):
        return sorted(self.groups)


class RandomClassSampler(Sampler):
    """Batches of batch_size // n_ins random classes with `n_ins` items each; a smaller class repeats items."""

    def __init__(self, data_source, batch_size, n_ins):
        self.data_source, self.batch_size = data_source, batch_size
        self.groups = _positions(data_source, lambda item: item.label)
        self.n_ins = n_ins
        self.n_classes = batch_size // n_ins
        if not 0 < self.n_classes <= len(self.groups):
            raise UserError(
                f"a batch of {batch_size} with {n_ins} items per class takes {self.n_classes} classes, there are "
                f"{len(self.groups)}: change BATCH_SIZE or N_INS"
            )
        self.length = len(list(iter(self)))

    def __iter__(self):
        chunks = {}
        for label, items in self.groups.items():
            items = (
                random.sample(items, len(items)) if len(items) >= self.n_ins else random.choices(items, k=self.n_ins)
            )
            whole = len(items) - len(items) % self.n_ins
            chunks[label] = [items[i : i + self.n_ins] for i in range(0, whole, self.n_ins)]
        order = []
        while len(chunks) >= self.n_classes:
            for label in random.sample(list(chunks), self.n_classes):
                order += chunks[label].pop()
                if not chunks[label]:
                    del chunks[label]
        return iter(order)

    def __len__(self):
        return self.length


_BUILDERS = {
    "RandomSampler": lambda data, batch_size, n_domain, n_ins: RandomSampler(data),
    "SequentialSampler": lambda data, batch_size, n_domain, n_ins: SequentialSampler(data),
    "RandomDomainSampler": lambda data, batch_size, n_domain, n_ins: RandomDomainSampler(data, batch_size, n_domain),
    "SeqDomainSampler": lambda data, batch_size, n_domain, n_ins: SeqDomainSampler(data, batch_size),
    "RandomClassSampler": lambda data, batch_size, n_domain, n_ins: RandomClassSampler(data, batch_size, n_ins),
}


def build_sampler(sampler_type, cfg=None, data_source=None, batch_size=32, n_domain=0, n_ins=16):
    """The sampler called `sampler_type` over a list of Datum."""
    if sampler_type not in _BUILDERS:
        raise UnknownName(f"unknown sampler {sampler_type!r}; known: {', '.join(nearest(sampler_type, _BUILDERS))}")
    return _BUILDERS[sampler_type](data_source, batch_size, n_domain, n_ins)


def _positions(data_source, key):
    groups = defaultdict(list)
    for index, item in enumerate(data_source):
        groups[key(item)].append(index)
    return dict(groups)
