"""Procore's four environments in one process, as separate as at Procore."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from procore_signin._emulator.procore import LocalProcore
from procore_signin._emulator.world.options import EmulatorOptions
from procore_signin._emulator.world.seed import Population
from procore_signin.environments import FEDERAL, MONTHLY, PRODUCTION, SANDBOX, Environment


def four_environments(
    options: EmulatorOptions,
    *,
    now: Callable[[], float] = time.time,
    population: Population | None = None,
) -> Mapping[str, LocalProcore]:
    """Return an emulated Procore for each environment, by its name, production first.

    Production and the monthly sandbox share people, companies and clients; the developer sandbox
    and the federal zone have their own, and another client: its id and secret end in `-sandbox` and
    `-federal`. No environment knows another's tokens. Source: Procore's documentation, "Development
    Environments" and "Federal Zone".

    Args:
        options: How each of them behaves.
        now: Returns the time, UTC unix seconds.
        population: The people and data at the start, in each of them.
    """
    production = LocalProcore(options, now=now, population=population)
    return {
        PRODUCTION.name: production,
        SANDBOX.name: LocalProcore(
            _registered_in(SANDBOX, options, 1), now=now, population=population
        ),
        MONTHLY.name: LocalProcore(_reseeded(options, 2), now=now, shares_with=production),
        FEDERAL.name: LocalProcore(
            _registered_in(FEDERAL, options, 3), now=now, population=population
        ),
    }


def _registered_in(
    environment: Environment, options: EmulatorOptions, place: int
) -> EmulatorOptions:
    """Return the options with another client, as each registration at Procore gives one."""
    return replace(
        _reseeded(options, place),
        client_id=f"{options.client_id}-{environment.name}",
        client_secret=f"{options.client_secret}-{environment.name}",
    )


def _reseeded(options: EmulatorOptions, place: int) -> EmulatorOptions:
    """Return the options with another seed: from one seed come equal tokens, which would cross."""
    return replace(options, seed=None if options.seed is None else options.seed + place)
