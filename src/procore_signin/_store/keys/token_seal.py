"""Token sets under the seal, each cell bound to the place where it stands (rows V2, V7)."""

from __future__ import annotations

import json
from typing import Final

from procore_signin._protocol.secret import Secret
from procore_signin._protocol.token_set import TokenSet
from procore_signin._store.keys.seal import Seal

_ACCESS: Final = "access_token"
_REFRESH: Final = "refresh_token"
_EXPIRES_AT: Final = "expires_at"
_PREDECESSOR: Final = "predecessor"
_ACCESS_LABEL: Final = "access token"
_REFRESH_LABEL: Final = "refresh token"


class TokenSeal:
    """Seals and opens the token columns of `token_sets` and the escrow of `sign_in_ledger`."""

    __slots__ = ("_seal",)

    def __init__(self, seal: Seal) -> None:
        self._seal: Final = seal

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the ring's keys, the active one first."""
        return self._seal.key_ids

    def seal_row(
        self, tokens: TokenSet, *, user_id: int, environment: str, generation: int
    ) -> dict[str, str | int | None]:
        """Return the columns `access_token`, `refresh_token` and `expires_at` for one row."""
        place = _row_context(_ACCESS, user_id, environment, generation)
        other = _row_context(_REFRESH, user_id, environment, generation)
        access = tokens.access_token.reveal()
        refresh = None if tokens.refresh_token is None else tokens.refresh_token.reveal()
        return {
            _ACCESS: self._seal.seal(access, context=place),
            _REFRESH: None if refresh is None else self._seal.seal(refresh, context=other),
            _EXPIRES_AT: tokens.expires_at,
        }

    def open_access(self, cell: str, *, user_id: int, environment: str, generation: int) -> Secret:
        """Return the access token of one row.

        Raises:
            VaultSealed: As `open_row`.
        """
        context = _row_context(_ACCESS, user_id, environment, generation)
        return self._seal.open_secret(cell, context=context, label=_ACCESS_LABEL)

    def open_row(
        self,
        access_token: str,
        refresh_token: str | None,
        expires_at: int,
        *,
        user_id: int,
        environment: str,
        generation: int,
    ) -> TokenSet:
        """Return the token set of one row.

        Raises:
            VaultSealed: A cell was changed, moved, or sealed with a key that is not in the ring.
        """
        return TokenSet(
            self._seal.open_secret(
                access_token,
                context=_row_context(_ACCESS, user_id, environment, generation),
                label=_ACCESS_LABEL,
            ),
            None
            if refresh_token is None
            else self._seal.open_secret(
                refresh_token,
                context=_row_context(_REFRESH, user_id, environment, generation),
                label=_REFRESH_LABEL,
            ),
            expires_at,
        )

    def seal_escrow(self, tokens: TokenSet, *, state_hash: str, environment: str) -> str:
        """Return the escrow of an attempt: the whole token set in one sealed text."""
        context = _escrow_context(state_hash, environment)
        return self._seal.seal(_text_of(tokens), context=context)

    def open_escrow(self, sealed: str, *, state_hash: str, environment: str) -> TokenSet:
        """Return the token set in an attempt's escrow.

        Raises:
            VaultSealed: As `open_row`.
        """
        context = _escrow_context(state_hash, environment)
        return _tokens_of(self._seal.open(sealed, context=context))

    def seal_predecessor(self, tokens: TokenSet, *, user_id: int, environment: str) -> str:
        """Return the column `predecessor` of one row: the pair before, in one sealed text."""
        context = _predecessor_context(user_id, environment)
        return self._seal.seal(_text_of(tokens), context=context)

    def open_predecessor(self, sealed: str, *, user_id: int, environment: str) -> TokenSet:
        """Return the pair before the one of a row.

        Raises:
            VaultSealed: As `open_row`.
        """
        context = _predecessor_context(user_id, environment)
        return _tokens_of(self._seal.open(sealed, context=context))


def _text_of(tokens: TokenSet) -> str:
    refresh_token = tokens.refresh_token
    return json.dumps(
        {
            _ACCESS: tokens.access_token.reveal(),
            _REFRESH: None if refresh_token is None else refresh_token.reveal(),
            _EXPIRES_AT: tokens.expires_at,
        }
    )


def _tokens_of(plain: bytes) -> TokenSet:
    values = json.loads(plain)  # ours: the seal vouches for the form
    refresh_token = values[_REFRESH]
    return TokenSet(
        Secret(values[_ACCESS], _ACCESS_LABEL),
        None if refresh_token is None else Secret(refresh_token, _REFRESH_LABEL),
        values[_EXPIRES_AT],
    )


def _row_context(
    column: str, user_id: int, environment: str, generation: int
) -> tuple[str, str, str, str, str]:
    return ("token_sets", column, str(user_id), environment, str(generation))


def _predecessor_context(user_id: int, environment: str) -> tuple[str, str, str, str]:
    # Not bound to a generation: one that cannot be opened stays when the row goes on without it.
    return ("token_sets", _PREDECESSOR, str(user_id), environment)


def _escrow_context(state_hash: str, environment: str) -> tuple[str, str, str, str]:
    return ("sign_in_ledger", "escrow", state_hash, environment)
