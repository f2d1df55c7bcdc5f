"""train.py --print-config: the whole configuration of a run as one YAML file, and nothing else."""

import pytest
import yaml
from dassl.utils import UserError
from runs import argv

import train
from scripts.lib.runs import ROOT, config_files


def printed(capsys, *words):
    train.main(["--print-config", *map(str, words)])
    return capsys.readouterr().out


def test_it_is_flat_and_makes_the_same_configuration_again(tiny_bank, tmp_path, capsys):
    out = tmp_path / "out"
    words = argv(tiny_bank, out, "CoOp_SHIP", "OPTIM.LR", "0.25")
    text = printed(capsys, *words)
    found = yaml.safe_load(text)
    assert "_BASE_" not in text and "PER_DATASET" not in text
    assert (found["OPTIM"]["LR"], found["TRAINER"]["NAME"], found["OUTPUT_DIR"]) == (0.25, "CoOp_SHIP", str(out))
    assert found["DATASET"]["NAME"] == "Caltech101"  # of the data set's file
    assert found["MODEL"]["BACKBONE"]["NAME"] == "MiniCLIP"  # of a base of the trainer's file
    assert not out.exists()
    (tmp_path / "flat.yaml").write_text(text)
    assert printed(capsys, "--config-file", tmp_path / "flat.yaml") == text


def test_values_of_one_data_set_are_its_own(capsys):
    """PER_DATASET's; no data and no weights are needed to see them."""

    def epochs(dataset):
        words = ["--trainer", "Tip_Adapter_F", "--dataset-config-file", ROOT / f"configs/datasets/{dataset}.yaml"]
        words += ["--config-file", ROOT / config_files("Tip_Adapter_F", "vit_b16")[0]]
        return yaml.safe_load(printed(capsys, *words))["OPTIM"]["MAX_EPOCH"]

    assert (epochs("eurosat"), epochs("dtd")) == (100, 20)


def test_a_wrong_key_is_an_error_all_the_same(tiny_bank, tmp_path):
    with pytest.raises(UserError, match="OPTIM.LRX"):
        train.main(["--print-config", *argv(tiny_bank, tmp_path, "CoOp", "OPTIM.LRX", "1")])
