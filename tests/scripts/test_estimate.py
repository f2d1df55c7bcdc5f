"""scripts/lib/estimate.py: what is counted, and how two measured runs become rates."""

from types import SimpleNamespace

import pytest
from lib.estimate import Rates, Work, calibrating, rates_of, work_of
from lib.run import ALL, Run


def config(epochs=10, batch=32, views=4, generator_epochs=5, generator_batch=64):
    return SimpleNamespace(
        OPTIM=SimpleNamespace(MAX_EPOCH=epochs),
        DATALOADER=SimpleNamespace(TRAIN_X=SimpleNamespace(BATCH_SIZE=batch)),
        FEATURES=SimpleNamespace(VIEWS=views),
        TRAINER=SimpleNamespace(SHIP=SimpleNamespace(EPOCHS=generator_epochs, BATCH_SIZE=generator_batch)),
    )


def work(trainer, task="base2new", dataset="caltech101", shots=16):
    return work_of(Run(task, dataset, trainer, "vit_b16", 1, shots), config())


def test_steps_and_prompts_are_counted():
    images = 50 * 16  # base classes of Caltech101
    coop = work("CoOp")
    assert coop.steps == 10 * (images // 32) and coop.prompts == coop.steps * 50
    assert coop.images == 2465 + images * 4
    ship = work("CoOp_SHIP")
    assert ship.prompts == coop.steps * 100 + 5 * images
    assert ship.steps == coop.steps + 5 * 13
    assert work("CoCoOp").prompts == 32 * coop.prompts
    assert work("CLIP_Adapter").prompts == 0 and work("CLIP_Adapter").steps == coop.steps
    assert work("ZeroshotCLIP").steps == 0
    assert work("CoOp", "fewshot").prompts == 10 * (1600 // 32) * 100


def test_a_target_needs_no_generator_and_coop_no_steps_there():
    assert work("CoOp", "cross_dataset").steps == 0
    ship = work("CoOp_SHIP", "cross_dataset")
    assert ship.steps == 10 * (1600 // 32) and ship.prompts == ship.steps * 100


def test_all_images_count_where_there_are_no_shots():
    assert work("CoOp", "gzsl", shots=ALL).steps == 10 * (4128 // 32)


def test_two_runs_give_the_seconds_of_a_step_and_of_a_prompt():
    def measured(dataset, names, per_step, wall):
        done = Work(steps=20, prompts=20 * names, images=100)
        return Run("base2new", dataset, "CoOp", "x", 1), done, wall, {"features": 5.0, "finetune": 20 * per_step}

    rates = rates_of([measured("eurosat", 5, 0.03, 15), measured("caltech101", 55, 0.08, 20)])
    assert rates.step == pytest.approx(0.025) and rates.prompt == pytest.approx(0.001)
    assert rates.image == pytest.approx(0.05) and rates.start == pytest.approx(9.4)
    assert "eurosat and caltech101" in rates.said
    one = rates_of([measured("eurosat", 5, 0.03, 15)])
    assert one.prompt == pytest.approx(0.006) and one.step == 0


def test_the_images_of_a_data_set_are_encoded_once():
    rates = Rates(start=10, step=1, prompt=0.1, image=2, said="")
    works = {Run("base2new", "dtd", "CoOp", "x", seed): Work(3, 20, 100) for seed in (1, 2)}
    assert rates.total(works) == 2 * (10 + 3 + 2) + 200


def test_the_calibrating_runs_are_short():
    runs = [Run("base2new", name, "CoOp", "vit_b16", 1) for name in ("imagenet", "dtd", "eurosat", "caltech101")]
    found = calibrating(runs, (("OPTIM.MAX_EPOCH", "200"),))
    assert [run.dataset for run in found] == ["eurosat", "caltech101"]
    assert all(dict(run.options)["OPTIM.MAX_EPOCH"] == "2" for run in found)
