"""A classifier for other programs: its weights alone as safetensors, or the whole of it as ONNX."""


def write_onnx(path, trainer, head, names):
    raise NotImplementedError


def write_safetensors(path, trainer, head, names):
    raise NotImplementedError
