"""Where secrets may be uncovered, and that nothing prints past the logs."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "procore_signin"

# Each uncovers a secret for one reason: to put it on the wire, under a seal, into a hash, or into
# the file that the person keeps.
MAY_REVEAL = {
    "_protocol/secret.py",  # to compare two of them
    "_protocol/token_endpoint.py",  # the client secret, code, verifier and tokens, in a request
    "_protocol/me.py",  # the access token, in the Authorization header
    "_protocol/companies.py",  # as above
    "_api/http/transport.py",  # as above
    "_protocol/pkce.py",  # the verifier, into its hash
    "_store/keys/keyring.py",  # the text of the keys, read once
    "_store/keys/token_seal.py",  # tokens, under the seal
    "_flow/sign_in.py",  # the code, into its hash
    "_flow/phases.py",  # the session's token, as above
    "_flow/attempt.py",  # the verifier, under the seal of the attempt's cookie
    "_app/metrics.py",  # the token for reading the metrics, to compare it
    "_web/endpoints.py",  # the session's token, in its Set-Cookie header
    "_settings/settings.py",  # what a framework's settings have as a Secret, checked or passed on
    "_testing/settings.py",  # a test's key, into its environment
    "_testing/sign_in.py",  # the session's token, into the cookie jar of a test client
    "_testing/stand_in.py",  # the client secret, for the emulator of a test
    "_cli/run/demo.py",  # the demo's key, into a file that only its owner reads
    "_cli/setup/init.py",  # a new key, into .env
    "_cli/operator/keys.py",  # as above
    "_cli/personal/profile.py",  # a profile's key, into a file that only its owner reads
}


def uses(name: str) -> set[str]:
    """Return the files that use a function or method of that name, called or passed on."""
    return {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr == name)
        or (isinstance(node, ast.Name) and node.id == name)
    }


def test_secrets_are_uncovered_in_the_listed_files_only() -> None:
    assert sorted(uses("reveal")) == sorted(MAY_REVEAL)


def test_a_secret_is_not_uncovered_inside_a_text_that_is_shown() -> None:
    """An f-string or a message is how a secret would get into a log or an error."""
    shown = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Raise | ast.Call):
                continue
            is_log = isinstance(node, ast.Call) and ast.unparse(node.func).lower().startswith(
                ("logger.", "logging.", "emit", "typer.", "log.")
            )
            if (is_log or isinstance(node, ast.Raise)) and ".reveal" in ast.unparse(node):
                shown.append(f"{path.relative_to(SOURCE)}:{node.lineno}")

    assert shown == []


def test_nothing_prints_outside_the_command_line() -> None:
    assert [place for place in uses("print") if not place.startswith("_cli/")] == []


def test_no_standard_stream_is_written_to_outside_the_command_line_and_the_logs() -> None:
    found = [
        path.relative_to(SOURCE).as_posix()
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"sys.stdout", "sys.stderr"}
    ]

    allowed = {"_app/logs.py", "web/flask.py"}  # the second is `flask procore-signin …`
    assert {place for place in found if not place.startswith("_cli/")} - allowed == set()
