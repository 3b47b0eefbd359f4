"""A local Procore: log-in panel, consent, tokens and API, on this machine and in memory.

It imports nothing of the client it is used to test but the table of environments, so that a
mistake in one cannot hide behind the same mistake in the other.
"""

from __future__ import annotations

from procore_signin.emulator.asgi import EmulatorApp
from procore_signin.emulator.clients import OUT_OF_BAND, Client
from procore_signin.emulator.companies import Company, Project
from procore_signin.emulator.effects import KINDS as FAULT_KINDS
from procore_signin.emulator.effects import BadFault
from procore_signin.emulator.faults import Fault
from procore_signin.emulator.four import four_environments
from procore_signin.emulator.handle import Emulator
from procore_signin.emulator.journal import Exchange, Journal
from procore_signin.emulator.options import EmulatorOptions
from procore_signin.emulator.people import DEMO_PASSWORD, Person
from procore_signin.emulator.process import serve, serve_all
from procore_signin.emulator.procore import LocalProcore
from procore_signin.emulator.refused import EmulatorRefused
from procore_signin.emulator.seed import DEMO_LOGIN, Population
from procore_signin.emulator.seed_file import read_population
from procore_signin.emulator.server import DEFAULT_HOST, DEFAULT_PORT
from procore_signin.emulator.verbs import LiveGrant, TokenRequest

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
