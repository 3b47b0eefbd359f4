"""pytest's fixtures: `procore_signed_in`, and a local Procore, for each test that asks for them.

pytest loads this module wherever the package is installed, so it imports the emulator only when a
test uses a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from uuid import UUID

    from procore_signin.emulator import Emulator
    from procore_signin.testing import Companies, SignedInUser

__all__ = [
    "ProcoreSignedIn",
    "procore_emulator",
    "procore_emulator_options",
    "procore_signed_in",
    "pytest_configure",
]


class ProcoreSignedIn(Protocol):
    """The type of the fixture `procore_signed_in`."""

    def __call__(
        self,
        client: object,
        login: str = "ann@example.com",
        *,
        name: str | None = "",
        companies: Companies = (),
        company: str | None = None,
        reference: str | int | UUID | None = None,
        app: object | None = None,
    ) -> SignedInUser:
        """Sign someone in for the rest of the test; see `testing.procore_signed_in`."""


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
    # See the module.
    from procore_signin._extras import extra  # noqa: PLC0415

    with extra("pytest"):
        from procore_signin.emulator import Emulator, read_population  # noqa: PLC0415

    marker = request.node.get_closest_marker("procore_emulator")
    options = {**procore_emulator_options, **(marker.kwargs if marker else {})}
    seed_file = options.pop("seed_file", None)
    if seed_file is not None:
        options["population"] = read_population(request.config.rootpath / seed_file)
    with Emulator.started(**options) as emulator:
        yield emulator


@pytest.fixture
def procore_signed_in() -> Iterator[ProcoreSignedIn]:
    """Sign someone in at a test client, for the rest of the test, in one line.

    `procore_signed_in(client, "ann@example.com", companies={"Acme": ["Mill"]})` is all: the
    application then works with a local Procore inside the test's process, without a socket, and
    with an empty store. It may be called several times, for several people or clients. The
    arguments, and what it returns and raises, are those of `testing.procore_signed_in`.
    """
    from procore_signin.testing import procore_signed_in as entered  # noqa: PLC0415 - see above

    with ExitStack() as stack:

        def sign_in(client: object, login: str = "ann@example.com", **more: Any) -> SignedInUser:
            return stack.enter_context(entered(client, login, **more))

        yield sign_in


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
