"""The package that the trainers import and that the requirements of CoOp and Dassl do not bring. Imported before
anything else here, so that it is named in one line where it is missing. MiniCLIP alone needs timm, and says so itself.
"""

try:
    import safetensors  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"{__package__} needs safetensors ({error}), which the requirements of CoOp and Dassl do not bring: "
        "pip install safetensors",
        name="safetensors",
    ) from None
