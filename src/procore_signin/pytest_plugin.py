"""pytest's fixture `procore_emulator`: a local Procore for each test that asks for one.

pytest loads this module wherever the package is installed, so it imports the emulator only when a
test uses the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from procore_signin.emulator import Emulator

__all__ = [
    "procore_emulator",
    "procore_emulator_options",
    "pytest_configure",
]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "procore_emulator(**options): how the emulator of this test behaves: fields of "
        "EmulatorOptions, and seed_file, relative to the root of the tests",
    )


@pytest.fixture
def procore_emulator_options() -> dict[str, Any]:
    """The options of every emulator: override them in a conftest.py, or mark single tests."""
    return {}


@pytest.fixture
def procore_emulator(
    request: pytest.FixtureRequest, procore_emulator_options: dict[str, Any]
) -> Iterator[Emulator]:
    """A local Procore that lives as long as the test.

    It listens on its own socket at `procore_emulator.url`, and is also the ASGI application
    `procore_emulator.app` in the test's process; both share one state. A test controls it by the
    methods of the handle: `approve`, `advance`, `fault`, `revoke`, `requests`, …

    Its options come from the fixture `procore_emulator_options`, then from the nearest marker
    `@pytest.mark.procore_emulator(...)`.

    Raises:
        ValueError: An option is wrong, or the seed file does not work.
    """
    from procore_signin.emulator import Emulator, read_population  # noqa: PLC0415 - see the module

    marker = request.node.get_closest_marker("procore_emulator")
    options = {**procore_emulator_options, **(marker.kwargs if marker else {})}
    seed_file = options.pop("seed_file", None)
    if seed_file is not None:
        options["population"] = read_population(request.config.rootpath / seed_file)
    with Emulator.started(**options) as emulator:
        yield emulator


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
