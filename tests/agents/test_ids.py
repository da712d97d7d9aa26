from __future__ import annotations

from uuid import UUID

from moltbot_gw.agents.ids import new_uuid


def test_ids_are_random_uuids_and_never_the_same() -> None:
    ids = [new_uuid() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {UUID(one).version for one in ids} == {4}
    assert {str(UUID(one)) for one in ids} == set(ids)
