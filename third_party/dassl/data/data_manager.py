"""From a dataset to batches of images."""

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ..utils import UserError, read_image
from . import transforms
from .datasets import build_dataset
from .samplers import build_sampler


def build_data_loader(
    cfg,
    sampler_type="SequentialSampler",
    data_source=None,
    batch_size=64,
    n_domain=0,
    n_ins=2,
    tfm=None,
    is_train=True,
    dataset_wrapper=None,
):
    """Batches of the items in `data_source`, images read and put through `tfm`.

    A training loader drops the last partial batch if and only if there is at least one full one.
    """
    if not data_source:
        raise UserError(
            f"the {'training' if is_train else 'evaluation'} set has no items; check DATASET.ROOT and the split"
        )
    wrapper = dataset_wrapper or DatasetWrapper
    return DataLoader(
        wrapper(cfg, data_source, transform=tfm, is_train=is_train),
        batch_size=batch_size,
        sampler=build_sampler(sampler_type, cfg, data_source, batch_size, n_domain, n_ins),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
    )


class DataManager:
    """The dataset of a config and its loaders: train_loader_x, train_loader_u, val_loader, test_loader.

    train_loader_u and val_loader are None where the dataset has no such items.
    """

    def __init__(self, cfg, custom_tfm_train=None, custom_tfm_test=None, dataset_wrapper=None):
        self.dataset = dataset = build_dataset(cfg)
        tfm_train = custom_tfm_train or transforms.build_transform(cfg, is_train=True)
        tfm_test = custom_tfm_test or transforms.build_transform(cfg, is_train=False)

        def train_loader(items, c):
            return build_data_loader(
                cfg, c.SAMPLER, items, c.BATCH_SIZE, c.N_DOMAIN, c.N_INS, tfm_train, True, dataset_wrapper
            )

        def test_loader(items):
            c = cfg.DATALOADER.TEST
            return build_data_loader(
                cfg, c.SAMPLER, items, c.BATCH_SIZE, tfm=tfm_test, is_train=False, dataset_wrapper=dataset_wrapper
            )

        cfg_x = cfg.DATALOADER.TRAIN_X
        self.train_loader_x = train_loader(dataset.train_x, cfg_x)
        self.train_loader_u = None
        if dataset.train_u:  # some configurations have no such node
            cfg_u = cfg.DATALOADER.TRAIN_U
            self.train_loader_u = train_loader(dataset.train_u, cfg_x if cfg_u.SAME_AS_X else cfg_u)
        self.val_loader = test_loader(dataset.val) if dataset.val else None
        self.test_loader = test_loader(dataset.test)

        self._num_classes = dataset.num_classes
        self._num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        self._lab2cname = dataset.lab2cname
        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    @property
    def num_classes(self):
        return self._num_classes

    @property
    def num_source_domains(self):
        return self._num_source_domains

    @property
    def lab2cname(self):
        return self._lab2cname

    def show_dataset_summary(self, cfg):
        """Print the name of the dataset and the sizes of its parts."""
        rows = [("Dataset", cfg.DATASET.NAME)]
        rows += [("Source", ", ".join(cfg.DATASET.SOURCE_DOMAINS))] if cfg.DATASET.SOURCE_DOMAINS else []
        rows += [("Target", ", ".join(cfg.DATASET.TARGET_DOMAINS))] if cfg.DATASET.TARGET_DOMAINS else []
        rows.append(("# classes", f"{self.num_classes:,}"))
        for part in ("train_x", "train_u", "val", "test"):
            if items := getattr(self.dataset, part):
                rows.append((f"# {part}", f"{len(items):,}"))
        for name, value in rows:
            print(f"{name:<10} {value}")


class DatasetWrapper(TorchDataset):
    """Reads the image of a Datum: a dict with img, label, domain, impath and index.

    `transform` may be a list: its images are img, img2, img3, ... In training each transform is applied
    DATALOADER.K_TRANSFORMS times (a list of images where that is more than once), and DATALOADER.RETURN_IMG0 adds img0,
    the image without augmentation.
    """

    def __init__(self, cfg, data_source, transform=None, is_train=False):
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.k_tfm = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.return_img0 = cfg.DATALOADER.RETURN_IMG0
        if self.k_tfm > 1 and transform is None:
            raise UserError(f"DATALOADER.K_TRANSFORMS is {self.k_tfm} but INPUT.NO_TRANSFORM leaves nothing to apply")
        self.to_tensor = transforms.build_plain_transform(cfg)

    def __len__(self):
        return len(self.data_source)

    def __getitem__(self, idx):
        item = self.data_source[idx]
        output = {"label": item.label, "domain": item.domain, "impath": item.impath, "index": idx}
        image = read_image(item.impath)
        if self.transform is None:
            output["img"] = image
        else:
            several = self.transform if isinstance(self.transform, (list, tuple)) else [self.transform]
            for i, transform in enumerate(several, 1):
                copies = [transform(image) for _ in range(self.k_tfm)]
                output["img" if i == 1 else f"img{i}"] = copies[0] if self.k_tfm == 1 else copies
        if self.return_img0:
            output["img0"] = self.to_tensor(image)
        return output
