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

PresetSlug = Annotated[Slug, Path(description="a preset's name in addresses")]


@router.get("", responses=errors() | example({"presets": [PRESET]}))
def list_presets(services: ServicesOfRequest) -> PresetList:
    """Every preset, in the order of the titles."""
    return PresetList(presets=list(services.presets.list()))


@router.get("/{slug}", responses=errors(404) | example(PRESET))
def preset(services: ServicesOfRequest, slug: PresetSlug) -> Preset:
    """One preset."""
    return services.presets.get(slug)


@router.put("/{slug}", responses=errors(409) | example(PRESET), openapi_extra=body_example(PRESET_BODY))
def save(services: ServicesOfRequest, slug: PresetSlug, body: PresetBody) -> Preset:
    """Save settings under a name, in place of those that had it before."""
    return services.presets.save(slug, body)


@router.delete("/{slug}", status_code=204, responses=errors(404))
def delete(services: ServicesOfRequest, slug: PresetSlug) -> None:
    """Delete a preset; comparisons that were started from it stay."""
    services.presets.delete(slug)
