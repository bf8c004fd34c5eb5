"""The catalog: what can be launched, and the workers."""

from fastapi import APIRouter

from backend.api.examples import CATALOG
from backend.api.openapi import errors, example
from backend.api.services import ServicesOfRequest
from backend.schemas.api import CatalogAnswer

router = APIRouter(tags=["catalog"])


@router.get("/catalog", responses=errors() | example(CATALOG))
def catalog(services: ServicesOfRequest) -> CatalogAnswer:
    """Problems and data sets that the workers announced, with all settings; and the workers."""
    return services.workers.catalog()
