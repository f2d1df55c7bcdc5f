"""From image files to features: the views of each image, read by worker processes, through the image tower.

View k of an image is seeded by its relative path, k and FEATURES.SEED alone, so it does not depend on the run, the
order or the number of processes.
"""

import random

import torch
from dassl.utils import read_image
from torch.utils.data import Dataset

from ..randomness import derive_seed, preserved_randomness
from .workers import image_batches

BATCH = {"cpu": 8, "cuda": 256}  # images an encoder pass; a CPU is fastest where activations stay in its cache


class Views(Dataset):
    """Image i -> (array [V, 3, H, W], i); an unreadable image gives (its error message, i).

    Arrays, because workers send them through a pipe. Tensors go through shared memory, and where that is full the
    worker's error reaches nobody.
    """

    def __init__(self, files, paths, transform, views, seed):
        self.files, self.paths, self.transform, self.views, self.seed = files, paths, transform, views, seed

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        try:
            image = read_image(self.files[i])
        except Exception as error:  # whatever a broken file makes a decoder raise
            return str(error), i
        if self.views == 0:
            return self.transform(image)[None].numpy(), i
        with preserved_randomness():
            return torch.stack([self._view(image, i, k) for k in range(self.views)]).numpy(), i

    def _view(self, image, i, k):
        seed = derive_seed(self.paths[i], k, self.seed)
        random.seed(seed)
        torch.manual_seed(seed)
        return self.transform(image)


@torch.no_grad()
def encode(backbone, views, workers):
    """-> {"features" [R, d] fp16, "offsets" [N + 1]} of the N images of `views`; an unreadable one has no row, and is
    named in a line."""
    device = backbone.logit_scale.device
    size = max(1, BATCH.get(device.type, 64) // max(views.views, 1))
    features, counts = [torch.empty(0, backbone.embed_dim, dtype=torch.float16)], [0]
    for batch in image_batches(views, workers, batch_size=size, collate_fn=list):
        good = [torch.from_numpy(images) for images, _ in batch if not isinstance(images, str)]
        counts += [0 if isinstance(images, str) else len(images) for images, _ in batch]
        for reason in (images for images, _ in batch if isinstance(images, str)):
            print(f"unreadable: {reason}")
        if good:
            images = torch.cat(good).to(device, backbone.dtype, memory_format=torch.channels_last)
            features.append(backbone.encode_image(images).to("cpu", torch.float16))
    return {"features": torch.cat(features), "offsets": torch.tensor(counts).cumsum(0)}
