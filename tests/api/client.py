"""Asks an application as a client would, without a server: what it raises would reach the test."""

import asyncio

import httpx
from starlette.applications import Starlette


class Client:
    """GET and friends, one after another.

    Args:
        app: The application.
    """

    def __init__(self, app: Starlette) -> None:
        self.app = app

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Answer to a GET; headers with _ for -."""
        return self.send("GET", path, **headers)

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> httpx.Response:
        """Answer to a POST of these bytes; without a content type none is sent."""
        return asyncio.run(self._send("POST", path, {"content-type": content_type} if content_type else {}, body))

    def send(self, method: str, path: str, **headers: str) -> httpx.Response:
        """Answer to any method."""
        return asyncio.run(self._send(method, path, {name.replace("_", "-"): value for name, value in headers.items()}))

    async def _send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://ridecast") as client:
            return await client.request(method, path, headers=headers, content=body)
