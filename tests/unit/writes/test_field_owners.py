"""Who else writes a field of ours, as the API server has recorded it."""

import msgspec

from extip.api.core_v1 import OwnedService
from extip.writes.policy.field_owners import rival_of

FIELD = "status.loadBalancer"
OURS: dict[str, object] = {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}


def owned(*owners):
    """Return the metadata of a service with these managers, times and fields."""
    entries = [
        {"manager": manager, "time": time, "fieldsV1": fields} for manager, time, fields in owners
    ]
    service = {"metadata": {"name": "web", "namespace": "shop", "managedFields": entries}}
    return msgspec.json.decode(msgspec.json.encode(service), type=OwnedService).metadata


def test_another_manager_of_the_field_is_the_rival():
    assert rival_of(owned(("other-lb", "2026-01-01T00:00:00Z", OURS)), FIELD) == "other-lb"


def test_extip_itself_is_none_and_neither_is_who_owns_other_fields():
    elsewhere: dict[str, object] = {"f:spec": {"f:type": {}}, "f:status": {"f:conditions": {}}}
    found = owned(
        ("extip", "2026-01-02T00:00:00Z", OURS), ("kubectl", "2026-01-03T00:00:00Z", elsewhere)
    )
    assert rival_of(found, FIELD) == ""


def test_of_several_the_last_writer_counts():
    found = owned(
        ("first", "2026-01-01T00:00:00Z", OURS),
        ("last", "2026-01-03T00:00:00Z", OURS),
        ("second", "2026-01-02T00:00:00Z", OURS),
    )
    assert rival_of(found, FIELD) == "last"


def test_a_server_that_records_nobody_names_nobody():
    assert rival_of(owned(), FIELD) == ""
