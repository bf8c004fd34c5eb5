"""What can be launched, and by whom it would be trained."""

from fastapi import APIRouter

from backend.api.examples import CATALOG
from backend.api.openapi import errors, example
from backend.api.services import ServicesOfRequest
from backend.schemas.api import CatalogAnswer

router = APIRouter(tags=["catalog"])


@router.get("/catalog", responses=errors() | example(CATALOG))
def catalog(services: ServicesOfRequest) -> CatalogAnswer:
    """Problems and data sets that the workers announced, with every knob's bounds and default; and the workers."""
    return services.workers.catalog()
