import pytest
from helpers.http_server import serving


@pytest.fixture
def server(monkeypatch):
    with serving(monkeypatch) as running:
        yield running
