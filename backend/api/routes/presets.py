"""Presets: list, read, save, delete."""

from typing import Annotated

from fastapi import APIRouter, Path

from backend.api.examples import PRESET, PRESET_BODY
from backend.api.openapi import body_example, errors, example
from backend.api.services import StoreOfRequest
from backend.schemas.api import PresetBody, PresetList
from backend.schemas.base import Slug
from backend.schemas.runs import Preset

router = APIRouter(prefix="/presets", tags=["presets"])

PresetSlug = Annotated[Slug, Path(description="a preset's name in addresses")]


@router.get("", responses=errors() | example({"presets": [PRESET]}))
def list_presets(store: StoreOfRequest) -> PresetList:
    """Every preset, in the order of the titles."""
    return PresetList(presets=list(store.presets.list()))


@router.get("/{slug}", responses=errors(404) | example(PRESET))
def preset(store: StoreOfRequest, slug: PresetSlug) -> Preset:
    """One preset."""
    return store.presets.get(slug)


@router.put("/{slug}", responses=errors(409) | example(PRESET), openapi_extra=body_example(PRESET_BODY))
def save(store: StoreOfRequest, slug: PresetSlug, body: PresetBody) -> Preset:
    """Save settings under a name, in place of those that had it before."""
    return store.presets.save(slug, body)


@router.delete("/{slug}", status_code=204, responses=errors(404))
def delete(store: StoreOfRequest, slug: PresetSlug) -> None:
    """Delete a preset; comparisons that were started from it stay."""
    store.presets.delete(slug)
