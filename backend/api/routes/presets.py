"""Presets: list, read, save, delete."""

from typing import Annotated

from fastapi import APIRouter, Path

from backend.api.examples import PRESET, PRESET_BODY
from backend.api.openapi import body_example, errors, example
from backend.api.services import ServicesOfRequest
from backend.schemas.api import PresetBody, PresetList
from backend.schemas.base import Slug
from backend.schemas.runs import Preset

router = APIRouter(prefix="/presets", tags=["presets"])

PresetSlug = Annotated[Slug, Path(description="slug of a preset")]


@router.get("", responses=errors() | example({"presets": [PRESET]}))
def list_presets(services: ServicesOfRequest) -> PresetList:
    """All presets, sorted by title."""
    return PresetList(presets=list(services.presets.list()))


@router.get("/{slug}", responses=errors(404) | example(PRESET))
def preset(services: ServicesOfRequest, slug: PresetSlug) -> Preset:
    """One preset."""
    return services.presets.get(slug)


@router.put("/{slug}", responses=errors(409) | example(PRESET), openapi_extra=body_example(PRESET_BODY))
def save(services: ServicesOfRequest, slug: PresetSlug, body: PresetBody) -> Preset:
    """Save settings under a slug; replace an existing preset."""
    return services.presets.save(slug, body)


@router.delete("/{slug}", status_code=204, responses=errors(404))
def delete(services: ServicesOfRequest, slug: PresetSlug) -> None:
    """Delete a preset; experiments launched from it are unchanged."""
    services.presets.delete(slug)
