"""`procore-signin whoami`: the user that the command line acts for, according to Procore."""

from __future__ import annotations

import typer

from procore_signin._cli.output import print_json
from procore_signin._cli.personal.profile import Profile
from procore_signin._cli.personal.profile_client import named, signed_in
from procore_signin._protocol.http_message import HttpResponse
from procore_signin._protocol.me import parse_me_response
from procore_signin.api import client_for, raise_for_procore


def run(profile: Profile, *, as_json: bool) -> None:
    """Ask Procore for the user of the profile's grant, and print it.

    Raises:
        NotSignedIn: The profile holds no grant.
        GrantLost: Procore no longer accepts it.
        ProcoreSignInError: As in `client_for`.
    """
    with signed_in(profile) as (door, user_id):
        environment = door.context.environment.name
        with client_for(door, user_id) as client:
            response = raise_for_procore(client.get("/rest/v1.0/me"))
        answer = HttpResponse(response.status_code, response.headers, response.content)
        me = parse_me_response(answer, received_at=door.context.clock())
    if as_json:
        print_json(
            {
                "profile": profile.name,
                "environment": environment,
                "procore_id": me.procore_id,
                "login": me.login,
                "name": me.name,
            }
        )
        return
    typer.echo(f"{named(me.name, me.login)}, {me.procore_id} at Procore ({environment})")
