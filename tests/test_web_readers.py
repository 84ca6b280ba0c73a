"""Readers of answers: places for all of them and for each user, and an end for those who read nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from web import run_async

from miripool.errors import Interrupted
from miripool.web import readers
from miripool.web.readers import Readers
from miripool.web.visitors import Visitor


class Reading:
    """Answers that go on until they are let go."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.begun = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.end.wait()
        await send({"type": "http.response.body", "body": b"all"})


class Asking:
    """Readers, their answers, and what each of them was sent."""

    def __init__(self, places: int) -> None:
        self.readers = Readers(places)
        self.reading = Reading()

    async def ask(self, user: str | None) -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"path": "/files/x", "headers": [], "state": {"visitor": Visitor(user)}}
        await self.readers.send(self.reading, scope, _nothing, send)
        return sent

    def begin(self, *users: str | None) -> list[asyncio.Task[list[Message]]]:
        return [asyncio.create_task(self.ask(user)) for user in users]


async def _nothing() -> Message:
    raise AssertionError


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within_a_minute() -> None:
        await asyncio.wait_for(test(), 60)

    run_async(within_a_minute)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_an_answer_where_no_place_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_WAIT", 0.1)

    async def test() -> None:
        asking = Asking(4)
        begun = asking.begin(None, None, None, None)
        await until(lambda: asking.reading.begun == 4)
        start, body = await asking.ask(None)
        assert start["status"] == 503
        assert b"retry-after" in dict(start["headers"])
        error: Any = json.loads(body["body"])["error"]
        assert (error["kind"], "ask again" in error["message"]) == ("busy", True)
        asking.reading.end.set()
        assert [(await one)[1]["body"] for one in begun] == [b"all"] * 4
        assert (await asking.ask(None))[0]["status"] == 200

    run(test)


def test_a_place_that_gets_free_is_waited_for() -> None:
    async def test() -> None:
        asking = Asking(4)
        begun = asking.begin(*([None] * 12))
        await until(lambda: asking.reading.begun == 4)
        asking.reading.end.set()
        assert [(await one)[0]["status"] for one in begun] == [200] * 12

    run(test)


def test_one_user_has_half_of_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_WAIT", 0.1)

    async def test() -> None:
        asking = Asking(4)
        greedy = asking.begin(*(["zoë"] * 9))
        await until(lambda: sum(one.done() for one in greedy) == 7)
        assert {one.result()[0]["status"] for one in greedy if one.done()} == {503}
        others = asking.begin("anna", "ben")
        await until(lambda: asking.reading.begun == 4)
        asking.reading.end.set()
        for one in others:
            assert (await one)[0]["status"] == 200
        await asyncio.gather(*greedy)

    run(test)


def test_who_reads_nothing_gives_the_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_PATIENCE", 0.1)

    async def test() -> None:
        asking = Asking(1)
        asking.reading.end.set()

        async def never(_: Message) -> None:
            await asyncio.Event().wait()

        scope = {"path": "/files/a\nb", "headers": []}
        with pytest.raises(Interrupted, match=r"nothing of '/files/a\\nb' was read for 0 s"):
            await asking.readers.send(asking.reading, scope, _nothing, never)
        assert (await asking.ask(None))[0]["status"] == 200

    run(test)


def test_who_leaves_while_waiting_takes_no_place() -> None:
    async def test() -> None:
        asking = Asking(1)
        first = asking.begin(None)
        await until(lambda: asking.reading.begun == 1)
        waiting = asking.begin(None, None)
        await asyncio.sleep(0.05)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        asking.reading.end.set()
        await asyncio.gather(*first)
        assert (await asking.ask(None))[0]["status"] == 200

    run(test)
