"""What the token of a request allows."""

from fastapi import APIRouter, Request

from backend.api.guard import scopes_of
from backend.api.openapi import errors, example
from backend.schemas.api import Access

router = APIRouter(tags=["access"])


@router.get("/access", responses=errors() | example({"scopes": ["launch", "read"]}))
async def access(request: Request) -> Access:
    """Return the scopes of the token; all of them if requests need no token."""
    return Access(scopes=sorted(scopes_of(request)))
