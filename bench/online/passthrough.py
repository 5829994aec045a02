"""A bare pass-through as an ASGI app under uvicorn: what a gateway on that road costs before it does anything.

UPSTREAM=http://127.0.0.1:8000 python -m uvicorn --app-dir bench online.passthrough:app
"""

from __future__ import annotations

import os

import aiohttp

UPSTREAM = os.environ.get("UPSTREAM", "")
NOT_FORWARDED = frozenset({b"host", b"connection", b"content-length", b"transfer-encoding", b"keep-alive"})


class Passthrough:
    """Reads the request, asks the upstream the same, and writes each piece of the reply as it comes."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        assert self._session is not None
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in scope["headers"]
            if name not in NOT_FORWARDED
        ]
        async with self._session.request(
            scope["method"], UPSTREAM + scope["path"], data=body or None, headers=headers
        ) as reply:
            kept = [
                (name.lower(), value)
                for name, value in reply.raw_headers
                if name.lower() not in NOT_FORWARDED - {b"content-length"}
            ]
            await send({"type": "http.response.start", "status": reply.status, "headers": kept})
            async for piece in reply.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})

    async def _live(self, receive, send) -> None:
        await receive()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, skip_auto_headers=("User-Agent",)
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})


app = Passthrough()
