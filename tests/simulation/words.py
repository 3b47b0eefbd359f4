"""The steps of a story in plain words."""

from __future__ import annotations

from procore_signin._protocol.http_message import HttpRequest

_WORDS = {
    "TakeAttempt": "takes the attempt",
    "EscrowTokens": "puts the tokens of the exchange into escrow",
    "FailAttempt": "notes that the attempt failed",
    "CompleteSignIn": "completes the sign-in",
    "JoinSignIn": "joins the sign-in",
    "AttemptOf": "reads the attempt",
    "TokenRowOf": "reads the token set",
    "TakeLease": "takes the lease",
    "RedateLease": "dates the lease anew",
    "NoteAmbiguous": "notes that no one knows what came of the request",
    "ReleaseLease": "gives the lease back",
    "CommitRefresh": "commits the new pair",
    "Settle": "forgets the pair before",
    "EndGrant": "notes that the grant is over",
    "GiveUpTokens": "puts an unwanted pair into the ledger",
    "HoldEscrow": "takes hold of an escrow",
    "ReleaseEscrow": "lets go of an escrow",
    "ReplaceEscrow": "notes that the refresh token is tried",
    "KeepRenewed": "keeps the pair that the trial brought",
    "FinishEscrow": "empties an escrow",
    "DisableUser": "disables the user",
    "DisconnectUser": "disconnects the user",
    "DeleteUser": "deletes the user",
    "EnableUser": "enables the user",
    "EscrowsOf": "reads what is in escrow of the user",
    "HasSignInUnderWay": "asks whether a sign-in is under way",
    "EscrowedIn": "reads old escrows",
    "PutOff": "puts escrows off",
    "PurgeSessions": "purges sessions",
    "PurgeAttempts": "purges the ledger",
    "SessionOf": "reads the session",
}


def in_words(wanted: object) -> str:
    """Return what a command or a query does."""
    name = type(wanted).__name__
    return _WORDS.get(name, name)


def of_request(request: HttpRequest) -> str:
    """Return what a request is, with the pair that it shows."""
    path = request.url.rpartition("/")[2]
    shown = request.body.decode().rpartition("token=")[2].partition("&")[0]
    if path == "token":
        if b"authorization_code" in request.body:
            return "the code"
        return f"{shown} to refresh"
    if path == "revoke":
        return f"{request.body.decode().partition('token=')[2].partition('&')[0]} to revoke"
    bearer = dict(request.headers)["authorization"].removeprefix("Bearer ")
    return f"{bearer} for {path}"
