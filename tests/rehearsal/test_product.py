"""Every configuration file of every trainer on every data set of Table 1: base to new, one epoch, from the images."""

from itertools import product

import pytest
from helpers.miniatures import TABLE1
from helpers.rehearsal import command, config_files, rehearse, small

pytestmark = pytest.mark.rehearsal
MINICLIP = [config for config in config_files() if config.split("/")[1].startswith("miniclip")]
OTHERS = [config for config in config_files() if config not in MINICLIP]


@pytest.fixture
def run(tmp_path, data, features):
    """run(config, dataset, KEY, VALUE, ...) -> its results.json, which says what was asked for."""

    def run(config, dataset, *options):
        trainer, cfg = config.split("/")
        out = tmp_path / "base2new" / dataset / "shots_2" / trainer / cfg / "seed1"
        found = rehearse(command(data, out, config, dataset, *small(features), *options))
        assert [found[key] for key in ("task", "dataset", "trainer")] == ["base2new", dataset, trainer]
        assert {*found["metrics"], *found["unsupported"]} >= {"base", "new", "all"} and "base" in found["metrics"]
        return found

    return run


# Two classes, so that two processes can share the work (--dist loadscope).
class TestViT:
    """Configurations as they are: their ViT-B/16 is the random CLIP."""

    @pytest.mark.parametrize("config, dataset", list(product(OTHERS, TABLE1)))
    def test_runs(self, run, config, dataset):
        assert run(config, dataset)["backbone"]["name"] == "ViT-B/16"


class TestMiniCLIP:
    """Those of the embedded backbone, with the random CLIP's file in its place, which is quicker."""

    @pytest.mark.parametrize("config, dataset", list(product(MINICLIP, TABLE1)))
    def test_runs(self, run, archive, config, dataset):
        assert run(config, dataset, "MODEL.BACKBONE.NAME", archive)["backbone"]["name"] == str(archive)

    def test_runs_on_the_embedded_backbone(self, run):
        assert run("CoOp_SHIP/miniclip", "eurosat")["backbone"]["name"] == "MiniCLIP"
