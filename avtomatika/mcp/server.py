"""The server: lists tools, calls them, and notifies clients when the list has changed; over stdio or HTTP."""

import asyncio
import json
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex
from typing import Any

import uvicorn
from mcp import MCPError, ServerSession, stdio_server, types
from mcp.server import InitializationOptions, NotificationOptions, Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged

from avtomatika import __version__
from avtomatika.client import AsyncClient
from avtomatika.errors import AvtomatikaError, ForbiddenError, NotFoundError

from .tools import Tool, read_tools

#: Interval at which the tools are read; maximum number of sessions that are notified, and of characters of an answer.
_REFRESH_SECONDS, _MOST_SESSIONS, _MOST_CHARACTERS = 10.0, 1000, 100_000
_READ_ONLY = "This server is read-only: creating and changing jobs needs `avtomatika mcp --allow-write`."


class ToolServer(Server[Any]):
    """Serves the tools of one installation."""

    def __init__(self, client: AsyncClient, *, allow_write: bool) -> None:
        self._client = client
        self._allow_write = allow_write
        self._tools: dict[str, Tool] = {}
        self._bus = InMemorySubscriptionBus()
        self._sessions: dict[str, ServerSession] = {}  # those of older protocols that know the list as it is now
        self._session = token_hex(16)  # that of the client over stdio
        super().__init__(
            "avtomatika",
            version=__version__,
            instructions="Workflows and their jobs." if allow_write else _READ_ONLY,
            get_tool_input_schema=lambda name: self._tools[name].schema if name in self._tools else None,
            on_list_tools=self._list,
            on_call_tool=self._call,
            on_subscriptions_listen=ListenHandler(self._bus),
        )

    def create_initialization_options(self, *_: Any, **__: Any) -> InitializationOptions:
        return super().create_initialization_options(NotificationOptions(tools_changed=True))

    async def refresh(self) -> None:
        """Read the tools at intervals, and notify clients when they have changed."""
        announced = None
        while True:
            with suppress(AvtomatikaError):
                offered = await self._read()
                if announced not in (None, offered):
                    sessions, self._sessions = self._sessions, {}
                    for session in sessions.values():
                        await session.send_tool_list_changed()
                    await self._bus.publish(ToolsListChanged())
                announced = offered
            await asyncio.sleep(_REFRESH_SECONDS)

    async def _read(self) -> list[types.Tool]:
        """Read the tools, and return those that are offered."""
        self._tools = await read_tools(self._client)
        hints = {each: types.ToolAnnotations(read_only_hint=not each) for each in (True, False)}
        return [
            types.Tool(
                name=name, description=each.description, input_schema=each.schema, annotations=hints[each.writes]
            )
            for name, each in self._tools.items()
            if self._allow_write or not each.writes
        ]

    async def _list(self, context: Any, _: object) -> types.ListToolsResult:
        try:
            offered = await self._read()
        except AvtomatikaError as error:
            raise MCPError(types.INTERNAL_ERROR, f"{error.code}: {error}") from None
        if (session := self._session_of(context)) is not None and len(self._sessions) < _MOST_SESSIONS:
            self._sessions[session] = context.session
        return types.ListToolsResult(tools=offered)

    async def _call(self, context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        session, name = self._session_of(context), params.name
        key = session and sha256(f"{session} {context.request_id!r}".encode()).hexdigest()
        try:
            if name not in self._tools:
                await self._read()
            if (tool := self._tools.get(name)) is None:
                raise NotFoundError("tool", name, known=self._tools)
            if tool.writes and not self._allow_write:
                raise ForbiddenError(f"the tool {name!r} changes jobs. {_READ_ONLY}")
            answer = await tool.run(context.session.report_progress, key, dict(params.arguments or {}))
            is_error = tool.writes and "job_id" in answer and answer.get("status") in ("failed", "error", "cancelled")
        except AvtomatikaError as error:
            answer, is_error = {"code": error.code, "message": str(error), "errors": getattr(error, "fields", {})}, True
        text = json.dumps(answer, ensure_ascii=False)
        if len(text) > _MOST_CHARACTERS:
            text, answer = f"{text[:_MOST_CHARACTERS]} ... cut, of {len(text)} characters", None
        content: list[types.ContentBlock] = [types.TextContent(text=text)]
        return types.CallToolResult(content=content, structured_content=answer, is_error=is_error)

    def _session_of(self, context: Any) -> str | None:
        """Return the session, in which ids of requests are unique; None for HTTP without sessions."""
        return self._session if context.request is None else context.request.headers.get("mcp-session-id")


async def serve(client: AsyncClient, address: tuple[str, int] | None, *, allow_write: bool) -> None:
    """Serve one client over stdio, or any number over HTTP at ``/mcp`` of *address*."""
    server = ToolServer(client, allow_write=allow_write)
    refreshing = asyncio.create_task(server.refresh())
    async with client:
        if address is None:
            async with stdio_server() as (reading, writing):
                await server.run(reading, writing, server.create_initialization_options())
        else:
            app = server.streamable_http_app(host=address[0])
            config = uvicorn.Config(app, *address, log_level="warning", timeout_graceful_shutdown=3)
            await uvicorn.Server(config).serve()
    refreshing.cancel()
