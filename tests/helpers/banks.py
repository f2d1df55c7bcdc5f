"""All that a feature bank holds."""

import torch

from trainers.core.bank import open_bank
from trainers.core.bank_header import read_bank_columns


def read_bank(path):
    """-> (tensors, header with the split), all of it read. Raises UserError as `open_bank` does."""
    tensors, metadata = open_bank(path)
    tensors = {name: value[torch.arange(len(value))] for name, value in tensors.items()}
    if "features" not in tensors:  # a cache has no split
        columns, names = read_bank_columns(path, metadata)
        metadata["split"] = {
            part: [(path, label, names[label]) for path, label in zip(*column)] for part, column in columns.items()
        }
    return tensors, metadata
