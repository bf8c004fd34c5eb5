"""Whether the process answers, and whether its database does."""

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError

from backend.errors import BackendUnavailable
from backend.openapi import errors
from backend.schemas import Health
from backend.store import StoreOfRequest

router = APIRouter(tags=["health"])


@router.get("/health", responses=errors())
async def health() -> Health:
    """The process answers."""
    return Health()


@router.get("/ready", responses=errors(503))
def ready(store: StoreOfRequest) -> Health:
    """The database can be read."""
    try:
        store.database.check()
    except SQLAlchemyError as error:
        raise BackendUnavailable("the database cannot be read") from error
    return Health()
