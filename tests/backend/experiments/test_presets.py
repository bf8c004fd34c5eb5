"""Tests of presets: saved, replaced, counted, deleted."""

import pytest

from backend.api.services import Services
from backend.errors import Conflict, NotFound
from backend.experiments import presets
from backend.schemas.api import PresetBody
from tests.backend.samples import Clock, spec


def test_a_preset_is_saved_replaced_and_deleted(services: Services, clock: Clock) -> None:
    """The slug is its place: saving there again replaces it, and the list is by title."""
    first = services.presets.save("a", PresetBody(title="Zebra", spec=spec()))
    services.presets.save("b", PresetBody(title="Ape", spec=spec(seeds=[1])))
    assert [preset.slug for preset in services.presets.list()] == ["b", "a"]
    clock.now += 5
    second = services.presets.save("a", PresetBody(title="Aardvark", spec=spec(seeds=[2])))
    assert services.presets.get("a") == second
    assert (second.saved_at - first.saved_at).total_seconds() == 5
    assert [preset.title for preset in services.presets.list()] == ["Aardvark", "Ape"]
    services.presets.delete("a")
    for verb in (services.presets.get, services.presets.delete):
        with pytest.raises(NotFound, match="no preset a"):
            verb("a")


def test_there_is_a_limit(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is refused with the limit; replacing one is not."""
    monkeypatch.setattr(presets, "MAX_PRESETS", 2)
    body = PresetBody(title="t", spec=spec())
    for slug in ("a", "b"):
        services.presets.save(slug, body)
    with pytest.raises(Conflict, match="there are already 2 presets"):
        services.presets.save("c", body)
    services.presets.save("a", body)
