"""The API for scripts that use asyncio: every call of `Client`, with the same arguments, to be awaited."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from threading import Event
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from backend.client import Client

P = ParamSpec("P")
T = TypeVar("T")


class _Awaited(Generic[P, T]):
    """A call of `Client` that waits in a thread while the event loop goes on."""

    def __init__(self, call: Callable[Concatenate[Client, P], T]) -> None:
        self._call = call
        self.__doc__ = call.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: "AsyncClient", owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, instance: "AsyncClient | None", owner: type) -> Self | Callable[P, Coroutine[Any, Any, T]]:
        if instance is None:
            return self
        client = instance.client

        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return await asyncio.to_thread(self._call, client, *args, **kwargs)

        return call


class AsyncClient:
    """One backend, as `Client` has it; `client` makes it of a Client that exists."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8700",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        client: Client | None = None,
    ) -> None:
        self.client = client or Client(base_url, headers=headers, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    health = _Awaited(Client.health)
    catalog = _Awaited(Client.catalog)
    check = _Awaited(Client.check)
    launch = _Awaited(Client.launch)
    sweep = _Awaited(Client.sweep)
    experiments = _Awaited(Client.experiments)
    experiment = _Awaited(Client.experiment)
    tags = _Awaited(Client.tags)
    edit = _Awaited(Client.edit)
    delete = _Awaited(Client.delete)
    restore = _Awaited(Client.restore)
    presets = _Awaited(Client.presets)
    preset = _Awaited(Client.preset)
    save_preset = _Awaited(Client.save_preset)
    delete_preset = _Awaited(Client.delete_preset)
    runs = _Awaited(Client.runs)
    run = _Awaited(Client.run)
    cancel = _Awaited(Client.cancel)
    pause = _Awaited(Client.pause)
    resume = _Awaited(Client.resume)
    retry = _Awaited(Client.retry)
    prioritize = _Awaited(Client.prioritize)
    series = _Awaited(Client.series)
    reproductions = _Awaited(Client.reproductions)
    paper = _Awaited(Client.paper)
    recorded_paper = _Awaited(Client.recorded_paper)
    study = _Awaited(Client.study)
    series_frame = _Awaited(Client.series_frame)
    export = _Awaited(Client.export)
    export_file = _Awaited(Client.export_file)
    import_run = _Awaited(Client.import_run)
    weights = _Awaited(Client.weights)
    checkpoint = _Awaited(Client.checkpoint)
    wait = _Awaited(Client.wait)

    async def follow(
        self, runs: Sequence[str] | None = None, *, experiment: str | None = None
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """Yield a run's id and its new columns, as `Client.follow` does; leaving it, or a cancel, ends it."""
        over = Event()
        pieces = self.client._follow(over, runs, experiment)
        try:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece
        finally:
            over.set()
            with suppress(ValueError):  # a thread waits for the next piece: it ends by itself
                pieces.close()
