"""pytest's fixture `procore_emulator`: a local Procore for each test that asks for one.

pytest loads this module by itself wherever the package is installed, so it imports nothing of the
emulator before a test asks for it.
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
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "procore_emulator(**options): how the emulator of this test behaves: fields of "
        "EmulatorOptions, and seed_file, relative to the root of the tests",
    )


@pytest.fixture
def procore_emulator_options() -> dict[str, Any]:
    """How every emulator behaves: override it in a conftest.py, or mark single tests."""
    return {}


@pytest.fixture
def procore_emulator(
    request: pytest.FixtureRequest, procore_emulator_options: dict[str, Any]
) -> Iterator[Emulator]:
    """A local Procore that lives as long as the test.

    It answers on a socket of its own at `procore_emulator.url`, and in the test's process as the
    ASGI application `procore_emulator.app`; both are one server with one state. Everything a test
    may do to it is a method of the handle: `approve`, `advance`, `fault`, `revoke`, `requests`, …

    Its options are those of the fixture `procore_emulator_options`, then those of the nearest
    marker `@pytest.mark.procore_emulator(...)`.

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
