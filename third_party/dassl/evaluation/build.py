from ..utils import Registry

EVALUATOR_REGISTRY = Registry("EVALUATOR")


def build_evaluator(cfg, **kwargs):
    """The evaluator TEST.EVALUATOR; `kwargs` go to it (lab2cname: dict of label -> class name)."""
    evaluator = EVALUATOR_REGISTRY.get(cfg.TEST.EVALUATOR)
    if cfg.VERBOSE:
        print(f"Evaluator: {cfg.TEST.EVALUATOR}")
    return evaluator(cfg, **kwargs)
