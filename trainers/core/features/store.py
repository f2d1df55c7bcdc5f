"""Where a run's features come from: whoever trains asks a store for the FeatureSet of some items and never learns
whether it came from a shipped bank, a cache or the images."""

from .bank import BankStore
from .extraction import ImageStore

VIEWS_BESIDE_IMAGES = 16


def stored_views(cfg):
    """Random training views an image that are kept. With FEATURES.VIEWS 0, where batches are of images, still some:
    for what trains on features alone, a generator or a cache."""
    return cfg.FEATURES.VIEWS or VIEWS_BESIDE_IMAGES


def open_store(cfg, backbone, image_dir):
    """The feature source that the config asks for: FEATURES.BANK, or images through the cache in FEATURES.DIR."""
    if cfg.FEATURES.BANK:
        return BankStore(cfg.FEATURES.BANK, backbone)
    return ImageStore(cfg, backbone, image_dir, stored_views(cfg))


def describe(train_set, wanted):
    """One log line about the views that training will draw from."""
    views = train_set.views
    fewer = int((views < wanted).sum())
    note = f"; {fewer} images have fewer than {wanted} views and use what they have" if fewer else ""
    return f"features: {len(train_set)} training images, {int(views.sum())} views{note}"
