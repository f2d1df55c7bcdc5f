"""A CoOp-shaped checkout (helpers/coop_checkout.py) run as its users run it: train, kill, resume, --eval-only, tables
from logs. Nothing of ours is in it but the Dassl runtime."""

import os
import re

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import read_fewshot
from dassl.engine import TrainerX
from dassl.evaluation import Classification
from dassl.utils import UserError, check_isfile
from helpers.coop_checkout import make_checkout, run

OPTIONS = (
    "DATASET.NUM_SHOTS 3 TRAINER.COOP.PREC fp32 DATALOADER.TRAIN_X.SAMPLER SequentialSampler "
    "OPTIM.LR 0.2 OPTIM.MAX_EPOCH 4 OPTIM.WARMUP_EPOCH 1 OPTIM.WARMUP_TYPE constant OPTIM.WARMUP_CONS_LR 1e-5 "
    "TRAIN.PRINT_FREQ 5 TRAIN.CHECKPOINT_FREQ 1 DATASET.SUBSAMPLE_CLASSES"
).split()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return make_checkout(tmp_path_factory.mktemp("checkout"))


def command(checkout, name, subset, *flags, options=(), **environment):
    """Runs train.py as a user would, into out/`name`; -> (its exit code, its output)."""
    words = ["--trainer", "CoOp", "--output-dir", f"out/{name}", *flags, *OPTIONS, subset, *options]
    done = run(checkout, *words, OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="", **environment)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def straight(checkout):
    code, out = command(checkout, "base", "base")
    assert code == 0, out
    return out


def accuracies(text):
    return [float(x) for x in re.findall(r"^\* accuracy: ([\d.]+)%$", text, re.M)]


def test_training_leaves_log_checkpoints_and_fewshot_pickle(checkout, straight):
    folder = checkout / "checkout/out/base"
    log = (folder / "log.txt").read_text()
    assert log in straight
    assert "# classes  3\n# train_x  9\n# val      3\n# test     6" in log
    # What parse_test_res.py reads: the last accuracy after the end signal.
    assert len(accuracies(log)) == 1 and log.index("Finish training") < log.index("* accuracy")
    assert {f"model.pth.tar-{e}" for e in (1, 2, 3, 4)} | {"checkpoint"} == set(os.listdir(folder / "prompt_learner"))
    saved = torch.load(folder / "prompt_learner" / "model.pth.tar-4", weights_only=True)
    assert set(saved["state_dict"]) == {"ctx", "token_prefix", "token_suffix"} and saved["epoch"] == 4
    draw = read_fewshot(str(checkout / "data/colours/split_fewshot/shot_3-seed_1.pkl"))
    assert [len(draw[part]) for part in ("train", "val")] == [18, 6]
    assert all(check_isfile(item.impath) for item in draw["train"])


def test_loss_falls_and_the_rate_follows_the_schedule(checkout, straight):
    lines = re.findall(r"^epoch \[(\d)/4\] batch \[2/2\] .*loss \S+ \((\S+)\) lr (\S+) eta", straight, re.M)
    assert [epoch for epoch, *_ in lines] == ["1", "2", "3", "4"]
    losses = [float(loss) for _, loss, _ in lines]
    assert losses[3] < losses[2] < losses[1]
    # Printed after the last batch of an epoch, hence the rate of the next one.
    assert [float(rate) for *_, rate in lines] == pytest.approx([0.2, 0.170711, 0.1, 0.0292893], rel=1e-3)


def test_a_killed_run_resumes_and_ends_the_same(checkout, straight):
    code, out = command(checkout, "killed", "base", KILL_AFTER="2")
    assert code == 9 and "Finish training" not in out
    folder = checkout / "checkout/out/killed"
    assert (folder / "log.txt").read_text().rstrip().endswith("model.pth.tar-2")
    whole = torch.load(checkout / "checkout/out/base/prompt_learner/model.pth.tar-4", weights_only=True)
    for name, options in {"elsewhere": ["RESUME", "out/killed"], "killed": []}.items():
        code, out = command(checkout, name, "base", options=options)
        assert code == 0 and "epoch [3/4]" in out and "epoch [2/4]" not in out
        assert accuracies(out) == accuracies(straight)
        found = torch.load(checkout / f"checkout/out/{name}/prompt_learner/model.pth.tar-4", weights_only=True)
        assert torch.equal(found["state_dict"]["ctx"], whole["state_dict"]["ctx"])
        assert found["scheduler"] == whole["scheduler"]
    assert [bool(re.fullmatch(r"log\.txt(-\d{4}(-\d\d){5})?", path.name)) for path in folder.glob("log*")] == [True] * 2


def test_evaluation_of_new_classes_with_the_base_weights(checkout, straight):
    weights = ["--eval-only", "--model-dir", "out/base", "--load-epoch", "4"]
    code, out = command(checkout, "new", "new", *weights)
    assert code == 0 and "* total: 6" in out and "Finish training" not in out
    assert "reading " in out  # the few-shot pickle of the training run
    code, out = command(checkout, "again", "base", *weights)
    assert code == 0 and accuracies(out) == accuracies(straight)


def test_a_loss_that_is_not_finite_stops_and_names_the_step(checkout):
    code, out = command(checkout, "nan", "base", options=["OPTIM.LR", "1e38"])
    assert code == 1 and re.search(r"NonFiniteLoss: .*nan in epoch 2, batch 2", out)
    assert {*os.listdir(checkout / "checkout/out/nan/prompt_learner")} == {"checkpoint", "model.pth.tar-1"}


def test_selection_never_falls_back_to_the_test_set():
    trainer = object.__new__(TrainerX)
    trainer.cfg, trainer._models, trainer.val_loader = get_cfg_default(), {}, None
    trainer.evaluator = Classification(trainer.cfg)
    with pytest.raises(UserError, match="has no validation set"):
        trainer.test("val")
