"""Guard: what is refused before anything is computed, and the headers that every answer has.

A page of somebody else's in the same browser may send requests to 127.0.0.1, and by making its own name resolve to that address (DNS
rebinding) may read the answers, too. Its requests name its own host: where the server is bound to loopback, whatever does not name loopback
is refused. What is posted must be declared to be JSON: a browser asks leave before it sends that to another's server, and without CORS
headers is given none.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 16 * 1024  # bytes


class Guard:
    """ASGI middleware.

    Args:
        app: what is guarded.
        policy: Content-Security-Policy of every answer.
        loopback: whether requests must be for this machine.
    """

    def __init__(self, app: ASGIApp, policy: str, loopback: bool) -> None:
        self.app, self.loopback = app, loopback
        self.headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        refused = self.refused(scope["method"], Headers(scope=scope))
        await (refused or self.app)(scope, receive, send_with_headers)

    def refused(self, method: str, headers: Headers) -> JSONResponse | None:
        """What is answered to a request that must not come through."""
        if self.loopback and not is_loopback(hostname(headers.get("host", ""))):
            return sentence(403, f"this server answers to 127.0.0.1 and localhost alone, and was asked as {headers.get('host', '')[:80]!r}")
        if method == "POST":
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return sentence(415, f"a request must be application/json, this one is {kind[:80] or 'of no type'}")
            length = headers.get("content-length", "")
            if not length.isdecimal():
                return sentence(411, "a request must say how long it is: send Content-Length")
            if int(length[:9]) > LARGEST_BODY or len(length) > 9:
                return sentence(413, f"a request has at most {LARGEST_BODY} bytes, this one has {length[:20]}")
        return None


def sentence(status: int, words: str) -> JSONResponse:
    """An answer that says what is wrong."""
    return JSONResponse({"error": words}, status)


def hostname(host: str) -> str:
    """The name in a Host header, without the port; "" where it is none.

    Example:
        >>> hostname("localhost:8000"), hostname("[::1]:8000"), hostname("a b")
        ('localhost', '::1', 'a b')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    """Whether a host's name or address is this machine's own to itself.

    Example:
        >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost.evil.example")
        (True, True, True, False)
    """
    if name.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
