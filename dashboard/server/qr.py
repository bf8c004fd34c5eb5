"""QR codes of links, which a phone reads from the screen."""

from io import BytesIO

import segno
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backend.errors import FieldError, InvalidInput

MAX_CHARACTERS = 1500
"""Of a text; the code of a longer one has so many dots that phones fail to read it."""


async def qr_code(request: Request) -> Response:
    """Return the QR code of the query's text as SVG."""
    text = request.query_params.get("text", "")
    if not 0 < len(text.encode(errors="replace")) <= MAX_CHARACTERS:
        error = InvalidInput([FieldError("text", text[:40], f"must have 1 to {MAX_CHARACTERS} bytes")])
        return JSONResponse(error.body(), error.status, media_type="application/problem+json")
    return Response(await run_in_threadpool(_svg, text), media_type="image/svg+xml")


def _svg(text: str) -> bytes:
    """Draw the code, dark on white on every page, because some phones read no light codes."""
    drawn = BytesIO()
    segno.make_qr(text, error="l").save(drawn, kind="svg", border=3, light="#fff", omitsize=True)
    return drawn.getvalue()
