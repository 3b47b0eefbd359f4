"""Bytes beyond ASCII in the headers of a response: HTTP allows them (RFC 9110 §5.5, obs-text)."""

from __future__ import annotations

import pytest
from tests.api.conftest import Answering
from tests.api.world import ME, World

from procore_signin.api import ApiOptions, ApiUnavailable, NotFound, RateLimited, raise_for_procore

VALUES = pytest.mark.parametrize(
    "value", [b"Schl\xfcssel", "Schlüssel".encode(), b"\x80\xff", "٣".encode()]
)
READ_BY_US = (
    "X-Filtered-By",
    "Content-Type",
    "Content-Language",
    "Date",
    "Retry-After",
    "X-Request-Id",
    "X-Rate-Limit-Limit",
    "X-Rate-Limit-Remaining",
    "X-Rate-Limit-Reset",
    "Per-Page",
    "Total",
    "Link",
)
ONCE = ApiOptions(retries=0)


def answer_with(name: str, value: bytes, status: int = 200, body: bytes = b"[]") -> bytes:
    head = b"HTTP/1.1 %d Fake\r\ncontent-length: %d\r\n" % (status, len(body))
    return head + name.encode() + b": " + value + b"\r\n\r\n" + body


@VALUES
def test_T9_a_header_that_is_not_ASCII_troubles_no_call_of_the_API(
    world: World, answering: Answering, value: bytes
) -> None:
    for name in READ_BY_US:
        client = world.client(at=answering(answer_with(name, value)).origin, options=ONCE)
        assert raise_for_procore(client.get(ME)).json() == [], name
        # What was learned from the first response does not trouble the next call either.
        assert client.get(ME).text == "[]", name


@VALUES
@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (429, RateLimited), (503, ApiUnavailable)]
)
def test_T9_nor_does_it_change_what_a_refusal_means(
    world: World, answering: Answering, value: bytes, status: int, kind: type[Exception]
) -> None:
    for name in READ_BY_US:
        refusal = answer_with(name, value, status, b'{"errors":"No"}')
        client = world.client(at=answering(refusal).origin, options=ONCE)
        with pytest.raises(kind):
            raise_for_procore(client.get(ME))
