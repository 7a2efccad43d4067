"""What was seen is remembered, never lowered, and never guessed."""

from __future__ import annotations

import datetime
import json
import threading
from pathlib import Path

import pytest

from model_vault import IntegrityError, StorageError, TagStatement, UsageError
from model_vault._floor import TagFloor, default_path
from model_vault._tag import Seen

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def at(sequence: int, version: int) -> TagStatement:
    root = f"{version:02x}" * 32
    return TagStatement("default", "digits", "prod", version, root, sequence, created=LONG_AGO, expires=LONG_AGO)


def seen(sequence: int, version: int) -> Seen:
    return Seen(version, sequence, f"{version:02x}" * 32)


def test_what_was_seen_is_never_lowered(tmp_path: Path):
    one, other = TagFloor(tmp_path / "seen.json"), TagFloor(tmp_path / "seen.json")
    assert one.of("a") is None
    one.raise_to("a", at(3, 3))
    other.raise_to("b", at(7, 1))
    other.raise_to("a", at(2, 9))
    with pytest.raises(IntegrityError):
        other.raise_to("a", at(3, 4))
    assert (one.of("a"), one.of("b")) == (seen(3, 3), seen(7, 1))
    one.raise_to("a", at(4, 1))
    assert other.of("a") == seen(4, 1)


def test_the_record_is_the_one_of_the_command_line_and_an_older_one_is_taken_over(tmp_path: Path):
    path = tmp_path / "seen.json"
    path.write_text('{"version":1,"floors":{"a":3,"b":4}}')
    floor = TagFloor(path)
    assert floor.of("a") == Seen(3)
    with pytest.raises(IntegrityError):
        floor.raise_to("a", at(1, 2))
    floor.raise_to("a", at(1, 3))
    # As src/client/floor.rs writes it.
    expected = {"a": {"version": 3, "signed": {"sequence": 1, "root": "03" * 32}}, "b": {"version": 4}}
    assert json.loads(path.read_text()) == {"version": 2, "floors": expected}
    assert floor.of("b") == Seen(4)


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path):
    def work(i: int) -> None:
        for n in range(1, 11):
            TagFloor(tmp_path / "seen.json").raise_to(f"{i}-{n}", at(n, n))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    floor = TagFloor(tmp_path / "seen.json")
    assert all(floor.of(f"{i}-{n}") == seen(n, n) for i in range(4) for n in range(1, 11))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"version":3,"floors":{}}',
        '{"version":0,"floors":{}}',
        '{"version":1,"floors":{"a":-1}}',
        '{"version":1,"floors":{"a":1,"a":0}}',
        '{"version":1,"floors":[]}',
        '{"version":1,"floors":{},"x":1}',
        '{"version":1,"floors":{"a":{"version":1}}}',
        '{"version":2,"floors":{"a":1}}',
        '{"version":2,"floors":{"a":{"version":1,"signed":{"sequence":1}}}}',
        '{"version":2,"floors":{"a":{"version":1,"signed":{"sequence":1,"root":"xx"}}}}',
        '{"version":2,"floors":{"a":{"version":1,"extra":1}}}',
    ],
)
def test_a_damaged_record_is_an_error_and_stays_as_it_is(tmp_path: Path, text: str):
    path = tmp_path / "seen.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        TagFloor(path).of("a")
    with pytest.raises(UsageError):
        TagFloor(path).raise_to("a", at(1, 1))
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "seen.json.lock").mkdir()
    with pytest.raises(StorageError) as caught:
        TagFloor(tmp_path / "seen.json").raise_to("a", at(1, 1))
    assert "state=None" in caught.value.hint


def test_the_record_lies_where_the_command_line_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = "modelvault/versions-seen.json"
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_path(None) == Path("/state") / file
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_path(None) == Path("/home/me/.local/state") / file
    monkeypatch.delenv("HOME")
    assert default_path(tmp_path / "enrolment") == tmp_path / "versions-seen.json"
    with pytest.raises(UsageError):
        default_path(None)
