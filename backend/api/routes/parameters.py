"""Path and query parameters shared by several routes."""

from typing import Annotated

from fastapi import Path, Query

from backend.schemas.base import Id

ExperimentId = Annotated[Id, Path(description="id of an experiment")]
RunId = Annotated[Id, Path(description="id of a run")]
WorkerId = Annotated[Id, Path(description="id of a worker, as registration returned it")]
Limit = Annotated[int, Query(ge=1, le=1000, description="maximum number of results")]
