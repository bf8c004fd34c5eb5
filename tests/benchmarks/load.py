"""Many connections that ask at once, with as little work as can be on the asking side."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from urllib.parse import urlsplit


async def _ask(url: str, head: bytes, targets: Sequence[str], until: float, seconds: list[float]) -> None:
    """Ask for one target after another over one connection that stays open; note how long each took."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**24)
    turn = 0
    while time.perf_counter() < until:
        began = time.perf_counter()
        writer.write(b"GET " + targets[turn % len(targets)].encode() + b" HTTP/1.1\r\n" + head)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert answer.startswith(b"http/1.1 200 "), answer
        await reader.readexactly(int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        seconds.append(time.perf_counter() - began)
        turn += 1
    writer.close()
    await writer.wait_closed()


def hammer(url: str, token: str, targets: Sequence[str], *, connections: int, seconds: float) -> dict[str, float]:
    """Ask over several connections; return requests per second, and seconds that they took."""
    head = f"Host: {urlsplit(url).netloc}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    took: list[float] = []

    async def all_at_once() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(_ask(url, head, targets, until, took) for _ in range(connections)))

    began = time.perf_counter()
    asyncio.run(all_at_once())
    rate = len(took) / (time.perf_counter() - began)
    return {"per_second": rate, "median": statistics.median(took), "p99": sorted(took)[int(len(took) * 0.99)]}
