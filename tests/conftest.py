"""What the live suites share: a test that takes ``n8n_version`` runs once for each real n8n that is wanted."""

from __future__ import annotations

import pytest

from sandbox.live import missing, wanted_versions


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "n8n_version" in metafunc.fixturenames:
        why = "real n8n instances are asked for with OPSCONSOLE_LIVE_N8N=1 (or all, or versions)"
        versions = wanted_versions(metafunc.config.getoption("--n8n"))
        nothing = [pytest.param("none", marks=pytest.mark.skip(reason=why))]
        metafunc.parametrize("n8n_version", versions or nothing, indirect=True, scope="session")


@pytest.fixture(scope="session")
def n8n_version(request: pytest.FixtureRequest) -> str:
    """A version that is installed here; the test fails where it was asked for and is not."""
    if why := missing(request.param):
        pytest.fail(why)
    return str(request.param)
