"""Configurations of checkouts that use names of ours for something else."""

import pytest
from dassl.config import get_cfg_default
from yacs.config import CfgNode as CN

from trainers import extend_cfg
from trainers.core import UserError
from trainers.core.checkout import own_config


def config(**taken):
    """A configuration in which a checkout has declared TRAINER.COOP.CTX_INIT as a truth value, and `taken`."""
    cfg = get_cfg_default()
    cfg.TRAINER.COOP = CN({"N_CTX": 16, "CTX_INIT": False, "W": 1.0, "PREC": "fp16"})
    cfg.DATASET.NAME = "EuroSAT"
    cfg.update(taken)
    extend_cfg(cfg)
    return cfg


def test_a_key_of_another_type_stays_the_checkouts(capsys):
    cfg = config(TASK="B2N")
    assert cfg.TRAINER.COOP.CTX_INIT is False and cfg.TRAINER.COOP.W == 1.0 and cfg.TASK == "B2N"
    cfg.merge_from_list(["TRAINER.COOP.CTX_INIT", True, "TRAINER.COOP.PREC", "fp32"])
    own = own_config(cfg, "COOP")
    ours = own.TRAINER.COOP
    assert (ours.CTX_INIT, ours.N_CTX, ours.PREC) == ("a centered satellite photo of", 5, "fp32")
    assert own.TASK == "base2new" and cfg.TASK == "B2N" and cfg.TRAINER.COOP.CTX_INIT is True
    said = capsys.readouterr().out
    assert "TASK B2N of this checkout is read as base2new" in said
    assert "TRAINER.COOP.CTX_INIT True of this checkout is read as 'a centered satellite photo of'" in said
    # ours have the last word
    cfg.merge_from_list(["SHIP.TASK", "gzsl", "SHIP.COOP.CTX_INIT", "a picture of"])
    own = own_config(cfg, "COOP")
    assert (own.TASK, own.TRAINER.COOP.CTX_INIT) == ("gzsl", "a picture of")
    assert own_config(config(), "COOP").TRAINER.COOP.CTX_INIT == ""  # False: none


def test_a_task_that_says_nothing_to_us_is_refused():
    with pytest.raises(UserError, match="TASK detection is this checkout's own: set SHIP.TASK"):
        own_config(config(TASK="detection"))


def test_a_dassl_without_crop_scale(monkeypatch):
    """Dassl 0.5: another value than what it does would have no effect."""
    old = get_cfg_default()
    del old.INPUT["RRCROP_SCALE"]
    monkeypatch.setattr("trainers.core.checkout.get_cfg_default", lambda: old)
    cfg = config()
    assert own_config(cfg).INPUT.RRCROP_SCALE == (0.08, 1.0)
    cfg.INPUT.RRCROP_SCALE = (0.5, 1.0)
    with pytest.raises(UserError, match="has no such key"):
        own_config(cfg)
