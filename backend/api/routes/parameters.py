"""Path and query parameters that several routes share."""

from typing import Annotated

from fastapi import Path, Query

from backend.schemas.base import Id

ExperimentId = Annotated[Id, Path(description="an experiment's id")]
RunId = Annotated[Id, Path(description="a run's id")]
WorkerId = Annotated[Id, Path(description="the id that registering gave")]
Limit = Annotated[int, Query(ge=1, le=1000, description="at most this many")]
