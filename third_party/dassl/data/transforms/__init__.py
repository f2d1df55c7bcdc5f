from ...lazy import attach

# Loaded where an image is opened: torchvision takes about as long as PyTorch itself.
__getattr__, __all__ = attach(
    __name__, {"transforms": ["INTERPOLATION_MODES", "build_plain_transform", "build_transform"]}
)
