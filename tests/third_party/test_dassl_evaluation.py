"""dassl.evaluation and dassl.metrics: figures against hand-computed ones, and the lines that other tools read."""

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.evaluation import build_evaluator
from dassl.metrics import compute_accuracy

NAMES = {0: "ant", 1: "bee", 2: "cat", 3: "dog"}
# Label 3 never appears but is predicted once: it has no part in the macro mean.
TRUE = [0, 0, 0, 1, 1, 2]
PREDICTED = [0, 0, 1, 1, 3, 2]


def evaluator(tmp_path, **test_options):
    cfg = get_cfg_default()
    cfg.OUTPUT_DIR = str(tmp_path)
    cfg.VERBOSE = False
    for key, value in test_options.items():
        cfg.TEST[key] = value
    result = build_evaluator(cfg, lab2cname=NAMES)
    for start in (0, 4):
        scores = torch.nn.functional.one_hot(torch.tensor(PREDICTED[start : start + 4]), 4).float()
        result.process(scores, torch.tensor(TRUE[start : start + 4]))
    return result


def test_results_and_lines(tmp_path, capsys):
    results = evaluator(tmp_path).evaluate()
    # F1: ant 2*2/(4+0+1) = 0.8, bee 2*1/(2+1+1) = 0.5, cat 1.0
    assert list(results) == ["accuracy", "error_rate", "macro_f1"]
    assert list(results.values()) == pytest.approx([400 / 6, 200 / 6, 230 / 3])
    assert capsys.readouterr().out == (
        "=> result\n* total: 6\n* correct: 4\n* accuracy: 66.7%\n* error: 33.3%\n* macro_f1: 76.7%\n"
    )


def test_per_class_and_confusion_matrix(tmp_path, capsys):
    results = evaluator(tmp_path, PER_CLASS_RESULT=True, COMPUTE_CMAT=True).evaluate()
    assert results["perclass_accuracy"] == pytest.approx((200 / 3 + 50 + 100) / 3)
    lines = capsys.readouterr().out.splitlines()[6:]
    assert lines[0] == "=> per-class result" and lines[4] == "* average: 72.2%"
    assert lines[1].startswith("* class: 0 (ant)\ttotal: 3\tcorrect: 2\tacc: 66.7%")
    matrix = torch.load(tmp_path / "cmat.pt", weights_only=True)
    expected = torch.tensor([[2 / 3, 1 / 3, 0, 0], [0, 0.5, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.float64)
    assert torch.allclose(matrix, expected)


def test_topk_accuracy():
    scores = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 3.0, 1.0]])
    target = torch.tensor([0, 1, 0, 1])
    top1, top2 = compute_accuracy(scores, target, topk=(1, 2))
    assert (top1.item(), top2.item()) == (50.0, 75.0) and top1.shape == (1,)
    assert compute_accuracy((scores, None), target)[0].item() == 50.0
