"""The companies of a user, as Procore lists them."""

import pytest
from scripted import ScriptedProcore, reply, sign_in

from procore_signin._client import ProcoreSignIn
from procore_signin._flow.companies import companies_of
from procore_signin.errors import ProcoreUnavailable


def test_the_companies_come_later_where_procore_names_a_date(
    door: ProcoreSignIn, procore: ScriptedProcore
) -> None:
    later = {"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}
    procore.next("/rest/v1.0/companies", reply(503, b"", **later))
    user = sign_in(door).user
    with pytest.raises(ProcoreUnavailable) as caught:
        door.run(companies_of(door.context, user))
    assert caught.value.retry_after == 30
