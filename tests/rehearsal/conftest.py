"""What all rehearsals share: miniature data sets, a random CLIP under OpenAI's names, one cache of features."""

import pytest
from helpers.miniatures import build_all
from helpers.random_clip import write_archive

from trainers.core.model import openai_clip


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A data root with every data set in miniature."""
    return build_all(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def features(tmp_path_factory):
    """FEATURES.DIR of all runs: each data set's images are encoded once."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """The path of a random CLIP in OpenAI's form."""
    return write_archive(tmp_path_factory.mktemp("clip") / "ViT-B-16.pt")


@pytest.fixture(scope="module", autouse=True)
def random_openai_models(archive):
    """OpenAI's names stand for the random CLIP: configurations that say ViT-B/16 run as they are."""
    with pytest.MonkeyPatch.context() as patch:
        digest = openai_clip.sha256_of(archive)
        patch.setattr(openai_clip, "fetch", lambda name: (str(archive), digest))
        yield
