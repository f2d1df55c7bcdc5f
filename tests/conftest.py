"""Import paths as train.py sets them, and the data that only some machines have."""

import copy
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "third_party"), str(ROOT / "tests")]
# In the background of a shell a suite ignores SIGINT, under nohup SIGHUP; the programs that tests interrupt must not.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared():
    """Folder with real data beside the repository; the test is skipped where it is missing."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"needs real data in {path.name}/ beside the repository, which is not there")
    return path


@pytest.fixture(scope="session")
def miniclip_backbone():
    """The embedded backbone. From here on its weights are read once for all runs, which get copies."""
    import miniclip
    from dassl.config import get_cfg_default

    from trainers.core.model.backbone import load_backbone

    load, model = miniclip.load, miniclip.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(miniclip, "load", lambda *path: load(*path) if path else copy.deepcopy(model))
        cfg = get_cfg_default()
        cfg.MODEL.BACKBONE.NAME = "MiniCLIP"
        yield load_backbone(cfg)


@pytest.fixture(scope="session")
def tiny_bank(tmp_path_factory, miniclip_backbone):
    """A feature bank of a few classes with random features, on which every trainer runs in seconds."""
    from tiny_data import make_bank

    return make_bank(tmp_path_factory.mktemp("bank") / "tiny.safetensors", miniclip_backbone)


@pytest.fixture(scope="session")
def rows(miniclip_backbone):
    from helpers.api import features_near_texts

    return features_near_texts(miniclip_backbone)


@pytest.fixture(scope="session")
def fitted(rows):
    from helpers.api import Fits

    return Fits(rows)
