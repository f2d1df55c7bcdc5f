"""Image transforms by the names of INPUT.TRANSFORMS."""

from torchvision import transforms as T
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode

from ...utils import UnknownName, nearest

INTERPOLATION_MODES = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST,
}

# Applied to the image in this order, whatever the order in the config.
_ON_IMAGE = {
    "random_crop": lambda c, mode: T.RandomCrop(c.SIZE, padding=c.CROP_PADDING),
    "random_resized_crop": lambda c, mode: T.RandomResizedCrop(c.SIZE, scale=tuple(c.RRCROP_SCALE), interpolation=mode),
    "random_flip": lambda c, mode: T.RandomHorizontalFlip(),
    "imagenet_policy": lambda c, mode: T.AutoAugment(AutoAugmentPolicy.IMAGENET),
    "cifar10_policy": lambda c, mode: T.AutoAugment(AutoAugmentPolicy.CIFAR10),
    "svhn_policy": lambda c, mode: T.AutoAugment(AutoAugmentPolicy.SVHN),
    "randaugment": lambda c, mode: T.RandAugment(c.RANDAUGMENT_N, c.RANDAUGMENT_M),
    "colorjitter": lambda c, mode: T.ColorJitter(c.COLORJITTER_B, c.COLORJITTER_C, c.COLORJITTER_S, c.COLORJITTER_H),
    "randomgrayscale": lambda c, mode: T.RandomGrayscale(c.RGS_P),
    "gaussian_blur": lambda c, mode: T.RandomApply([T.GaussianBlur(c.GB_K)], c.GB_P),
}
# Names without an entry above: every test image is centre-cropped, and tensors are normalised last.
_KNOWN = [*_ON_IMAGE, "center_crop", "normalize"]


def build_transform(cfg, is_train=True, choices=None):
    """PIL image -> tensor [3, H, W] of size INPUT.SIZE; `choices` stands in for INPUT.TRANSFORMS.

    Training: the transforms of that list, after a plain resize where none of them crops. Test: the shorter side resized
    to the longer of INPUT.SIZE, centre crop. Both are normalised if "normalize" is listed. None with
    INPUT.NO_TRANSFORM.
    """
    c = cfg.INPUT
    if c.NO_TRANSFORM:
        print("Images are not transformed (INPUT.NO_TRANSFORM)")
        return None
    choices = list(c.TRANSFORMS if choices is None else choices)
    for name in choices:
        _expect("INPUT.TRANSFORMS", name, _KNOWN)
    mode = _interpolation(c)
    if is_train:
        steps = [_ON_IMAGE[name](c, mode) for name in _ON_IMAGE if name in choices]
        if not {"random_crop", "random_resized_crop"} & set(choices):
            steps.insert(0, T.Resize(c.SIZE, interpolation=mode))
    else:
        steps = [T.Resize(max(c.SIZE), interpolation=mode), T.CenterCrop(c.SIZE)]
    transform = T.Compose(steps + _to_tensor(c, choices))
    if cfg.VERBOSE:
        print(
            f"{'Training' if is_train else 'Test'} transform: {', '.join(str(step) for step in transform.transforms)}"
        )
    return transform


def build_plain_transform(cfg):
    """PIL image -> tensor [3, H, W] without augmentation: resized, normalised if INPUT.TRANSFORMS says so."""
    c = cfg.INPUT
    return T.Compose([T.Resize(c.SIZE, interpolation=_interpolation(c)), *_to_tensor(c, c.TRANSFORMS)])


def _to_tensor(c, choices):
    normalize = [T.Normalize(mean=c.PIXEL_MEAN, std=c.PIXEL_STD)] if "normalize" in choices else []
    return [T.ToTensor(), *normalize]


def _interpolation(c):
    _expect("INPUT.INTERPOLATION", c.INTERPOLATION, INTERPOLATION_MODES)
    return INTERPOLATION_MODES[c.INTERPOLATION]


def _expect(key, name, known):
    if name not in known:
        raise UnknownName(f"unknown {key} {name!r}; known, nearest first: {', '.join(nearest(name, known))}")
