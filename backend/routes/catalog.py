"""What can be launched, and by whom it would be trained."""

from fastapi import APIRouter

from backend.examples import CATALOG
from backend.openapi import errors, example
from backend.schemas import CatalogAnswer
from backend.store import StoreOfRequest

router = APIRouter(tags=["catalog"])


@router.get("/catalog", responses=errors() | example(CATALOG))
def catalog(store: StoreOfRequest) -> CatalogAnswer:
    """Problems and data sets that the workers announced, with every knob's bounds and default; and the workers."""
    return store.workers.catalog()
