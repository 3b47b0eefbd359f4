"""The options of an emulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from procore_signin._emulator.world.clients import OUT_OF_BAND, Client

Pkce = Literal["ignore", "enforce", "reject"]
Rotation = Literal["immediate", "grace"]
Doorkeeper = Literal[4, 5]
MeName = Literal["always", "company"]
CompanyHeader = Literal["documented", "always"]

CODE_LIFETIME: Final = 600
"""Seconds an authorization code stays good: 10 minutes (Procore, "Authentication Endpoints")."""

ACCESS_TOKEN_LIFETIME: Final = 5400
"""Seconds an access token stays good: 1.5 hours (Procore, "Authorization Code Grant Flow")."""


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """The emulator's behaviour where Procore's documentation leaves a question open.

    The defaults follow the best evidence about Procore. Inferred behaviour is an option.

    Attributes:
        client_id: The id of the client that is registered at the start.
        client_secret: Its secret.
        redirect_uris: Its registered redirect URIs, on this machine (security row E1).
        client_name: Its name on the consent dialog.
        pkce: `ignore`: parameters of RFC 7636 have no effect (Procore documents none);
            `enforce`: a challenge binds the code to its verifier, a verifier without a challenge is
            refused; `reject`: sending one is an error.
        rotation: `immediate`: a refresh token dies when it is used (documented); `grace`: it dies
            when the access token it brought is first used.
        doorkeeper: Which generation of the server software Procore resembles. 4: every token error
            is a 401, `scopes`/`expires_in_seconds` in token info, `/oauth/authorize/<code>` out of
            band; 5: RFC 6749's statuses, `scope`/`expires_in`, `/oauth/authorize/native?code=…`.
            4 is the default because Procore's documentation and OpenAPI show its forms.
        iss: Send `iss` (RFC 9207) with the authorization response. Procore does not.
        fragment: Send the response in the fragment, not the query, as steps 8 and 9 of the tutorial
            say.
        code_reuse_revokes: A code sent twice revokes the tokens it brought (RFC 6749 §4.1.2).
        failed_refresh_burns: A refusal for any other reason also spends the refresh token, as
            Procore's FAQ says ("successful or not"). Applies to `immediate` rotation.
        me_name: `always`: `/me` has `name`, as in the tutorial; `company`: only when `company_id`
            or `project_id` is asked for, as the OpenAPI says.
        hourly_limit: API requests a client may make in 60 minutes, or None to refuse none.
        spike_limit: API requests a client may make in 10 seconds, or None to refuse none.
        company_header: `documented`: `Procore-Company-Id` may be left out where the documentation
            shows calls without it: `/me`, `/companies`, and the projects of a company that the
            query names; `always`: the projects need it too, as the page on regions says of every
            call. A service account needs it at `/me` and `/companies` in either case.
        reuse_access_token: A new sign-in returns the token that is still valid, as Doorkeeper does
            with its option of that name.
        link_keeps_query: Keep the other query parameters in the URLs of `Link`. Procore's
            documentation shows them lost.
        seed: Makes every code, token and id repeat from run to run, or None for real randomness.
    """

    client_id: str = "emulator-client-id"
    client_secret: str = field(default="emulator-client-secret", repr=False)
    redirect_uris: tuple[str, ...] = ("http://localhost:4567/callback", OUT_OF_BAND)
    client_name: str = "Your Application"
    pkce: Pkce = "ignore"
    rotation: Rotation = "immediate"
    doorkeeper: Doorkeeper = 4
    iss: bool = False
    fragment: bool = False
    code_reuse_revokes: bool = False
    failed_refresh_burns: bool = True
    me_name: MeName = "always"
    hourly_limit: int | None = None
    spike_limit: int | None = None
    company_header: CompanyHeader = "documented"
    reuse_access_token: bool = False
    link_keeps_query: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        _choose("pkce", self.pkce, get_args(Pkce))
        _choose("rotation", self.rotation, get_args(Rotation))
        _choose("doorkeeper", self.doorkeeper, get_args(Doorkeeper))
        _choose("me_name", self.me_name, get_args(MeName))
        _choose("company_header", self.company_header, get_args(CompanyHeader))
        for name in ("hourly_limit", "spike_limit"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ValueError(f"{name} is a number of requests, 1 or more, or None")
        if not self.redirect_uris:
            raise ValueError("Register at least one redirect URI")
        self.client()

    def client(self) -> Client:
        """Return the client to register at the start.

        Raises:
            ValueError: A redirect URI leaves this machine, or the id or secret is empty.
        """
        return Client(
            client_id=self.client_id,
            client_secret=self.client_secret,
            redirect_uris=self.redirect_uris,
            name=self.client_name,
        )


def _choose(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        listed = ", ".join(str(choice) for choice in choices)
        raise ValueError(f"{name} is {value!r}: choose one of {listed}")
