"""Health of the process and of its database."""

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError

from backend.api.openapi import errors, example
from backend.api.services import ServicesOfRequest
from backend.errors import BackendUnavailable
from backend.schemas.api import Health
from backend.storage.database import Unusable

router = APIRouter(tags=["health"])

_OK = example({"status": "ok"})


@router.get("/health", responses=errors() | _OK)
async def health() -> Health:
    """The process is running."""
    return Health()


@router.get("/ready", responses=errors(503) | _OK)
def ready(services: ServicesOfRequest) -> Health:
    """The database can be read."""
    try:
        services.database.check()
    except SQLAlchemyError as error:
        raise BackendUnavailable("the database cannot be read: run blockhf doctor") from error
    except Unusable as error:
        raise BackendUnavailable(str(error)) from error
    return Health()
