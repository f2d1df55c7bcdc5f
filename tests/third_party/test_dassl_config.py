"""dassl.config: upstream's keys, and errors that say what to type."""

import pytest
from dassl.config import get_cfg_default
from dassl.utils import MissingFile, UserError


def test_defaults_that_coop_relies_on():
    cfg = get_cfg_default()
    assert (cfg.OUTPUT_DIR, cfg.RESUME, cfg.SEED, cfg.USE_CUDA) == ("./output", "", -1, True)
    assert (cfg.INPUT.SIZE, cfg.INPUT.INTERPOLATION, cfg.INPUT.RRCROP_SCALE) == ((224, 224), "bilinear", (0.08, 1.0))
    assert cfg.DATASET.NUM_SHOTS == -1 and cfg.DATASET.SOURCE_DOMAINS == ()
    assert cfg.DATALOADER.TRAIN_X.BATCH_SIZE == 32 and cfg.DATALOADER.TEST.SAMPLER == "SequentialSampler"
    assert cfg.OPTIM.NAME == "adam" and cfg.OPTIM.LR == 0.0003 and cfg.OPTIM.WEIGHT_DECAY == 5e-4
    assert cfg.OPTIM.WARMUP_RECOUNT is True and cfg.OPTIM.STEPSIZE == (-1,) and cfg.OPTIM.ADAM_BETA2 == 0.999
    assert cfg.TRAIN.PRINT_FREQ == 10 and cfg.TRAIN.CHECKPOINT_FREQ == 0
    assert cfg.TEST.EVALUATOR == "Classification" and cfg.TEST.FINAL_MODEL == "last_step"
    cfg.INPUT.PIXEL_MEAN.append(0.0)
    assert len(get_cfg_default().INPUT.PIXEL_MEAN) == 3


@pytest.mark.parametrize(
    "text, message",
    [
        ("OPTIM:\n  MAX_EPOCH: many\n", "OPTIM.MAX_EPOCH"),
        ("just words\n", "not a YAML file of config keys: it holds a str"),
        ("OPTIM:\n  MAX_EPOCHS: 3\n", "nearest known keys: OPTIM.MAX_EPOCH,"),
        ("SEED: !!python/object/apply:os.getcwd []\n", "could not determine a constructor.*line 1"),
        ("OPTIM: {LR: 0.5}\nSEED: 1\nOPTIM:\n  MAX_EPOCH: 3\n", "line 3: the key OPTIM stands twice"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    file = written(tmp_path / "bad.yaml", text)
    with pytest.raises(UserError, match=message) as error:
        get_cfg_default().merge_from_file(file)
    assert "bad.yaml" in str(error.value) and "\n" not in str(error.value)


def test_whole_numbers_are_taken_for_floats(tmp_path):
    """`LR 1` is a float like `LR 1.0`, on the command line and in a file; a float for an int stays an error."""
    cfg = get_cfg_default()
    cfg.merge_from_list(["OPTIM.LR", "1", "OPTIM.MOMENTUM", 0])
    assert (cfg.OPTIM.LR, cfg.OPTIM.MOMENTUM) == (1.0, 0.0) and type(cfg.OPTIM.LR) is type(cfg.OPTIM.MOMENTUM) is float
    (tmp_path / "c.yaml").write_text("OPTIM:\n  LR: 2\n")
    cfg.merge_from_file(str(tmp_path / "c.yaml"))
    assert cfg.OPTIM.LR == 2.0 and type(cfg.OPTIM.LR) is float
    with pytest.raises(UserError, match="OPTIM.MAX_EPOCH"):
        cfg.merge_from_list(["OPTIM.MAX_EPOCH", "1.5"])
    with pytest.raises(UserError, match=r"OPTIM\.MAX_EPOCHS.*nearest known keys: OPTIM\.MAX_EPOCH,"):
        cfg.merge_from_list(["OPTIM.MAX_EPOCHS", "3"])


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_file_says_what_differs_from_its_bases(tmp_path):
    written(tmp_path / "base/one.yaml", "OPTIM: {LR: 0.1, MAX_EPOCH: 7}\nSEED: 1\n")
    written(tmp_path / "base/two.yaml", "OPTIM: {LR: 0.2}\n")
    path = written(tmp_path / "own/cfg.yaml", '_BASE_: ["../base/one.yaml", "../base/two.yaml"]\nSEED: 3\n')
    cfg = get_cfg_default()
    cfg.merge_from_file(path)
    assert (cfg.OPTIM.LR, cfg.OPTIM.MAX_EPOCH, cfg.SEED) == (0.2, 7, 3)
    with pytest.raises(MissingFile, match="its _BASE_ gone.yaml does not exist"):
        get_cfg_default().merge_from_file(written(tmp_path / "bad.yaml", "_BASE_: gone.yaml"))
    with pytest.raises(UserError, match="is its own _BASE_"):
        get_cfg_default().merge_from_file(written(tmp_path / "loop.yaml", "_BASE_: loop.yaml"))


def test_values_of_a_data_set_go_on_top_once_it_is_known(tmp_path):
    text = "OPTIM: {MAX_EPOCH: 20}\nPER_DATASET:\n  EuroSAT: {OPTIM: {MAX_EPOCH: 100}}\n"
    path = written(tmp_path / "tip.yaml", text)
    for name, epochs in (("EuroSAT", 100), ("Caltech101", 20), ("", 20)):
        cfg = get_cfg_default()
        cfg.DATASET.NAME = name
        cfg.merge_from_file(path)
        assert cfg.OPTIM.MAX_EPOCH == epochs and "PER_DATASET" not in cfg
    wrong = written(tmp_path / "wrong.yaml", "PER_DATASET:\n  EuroSAT: {OPTIM: {MAX_EPOCHS: 100}}\n")
    with pytest.raises(UserError, match="OPTIM.MAX_EPOCHS.*PER_DATASET EuroSAT"):  # also where it is not in force
        get_cfg_default().merge_from_file(wrong)
