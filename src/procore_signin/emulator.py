"""A local Procore: log-in panel, consent, tokens and API, on this machine and in memory.

Of the client that it tests, it imports only the table of environments, so that a mistake in one
cannot hide behind the same mistake in the other.
"""

from __future__ import annotations

from procore_signin._extras import extra

with extra("emulator"):
    from procore_signin._emulator.control.handle import Emulator
    from procore_signin._emulator.control.verbs import LiveGrant, TokenRequest
    from procore_signin._emulator.environments import four_environments
    from procore_signin._emulator.errors import EmulatorRefused
    from procore_signin._emulator.faults.faults import Fault
    from procore_signin._emulator.faults.kinds import KINDS as FAULT_KINDS
    from procore_signin._emulator.faults.kinds import BadFault
    from procore_signin._emulator.files.seed_file import read_population
    from procore_signin._emulator.journal import Exchange, Journal
    from procore_signin._emulator.process import serve, serve_all
    from procore_signin._emulator.procore import LocalProcore
    from procore_signin._emulator.wire.asgi import EmulatorApp
    from procore_signin._emulator.wire.server import DEFAULT_HOST, DEFAULT_PORT
    from procore_signin._emulator.world.clients import OUT_OF_BAND, Client
    from procore_signin._emulator.world.companies import Company, Project
    from procore_signin._emulator.world.options import EmulatorOptions
    from procore_signin._emulator.world.people import DEMO_PASSWORD, Person
    from procore_signin._emulator.world.seed import DEMO_LOGIN, Population

__all__ = [
    "DEFAULT_HOST",
    "DEFAULT_PORT",
    "DEMO_LOGIN",
    "DEMO_PASSWORD",
    "FAULT_KINDS",
    "OUT_OF_BAND",
    "BadFault",
    "Client",
    "Company",
    "Emulator",
    "EmulatorApp",
    "EmulatorOptions",
    "EmulatorRefused",
    "Exchange",
    "Fault",
    "Journal",
    "LiveGrant",
    "LocalProcore",
    "Person",
    "Population",
    "Project",
    "TokenRequest",
    "four_environments",
    "read_population",
    "serve",
    "serve_all",
]


def __dir__() -> list[str]:
    """Show the public names (PEP 562)."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
