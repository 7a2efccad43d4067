"""What was seen is remembered, never lowered, and never guessed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from model_vault import StorageError, UsageError
from model_vault._floor import VersionFloor, default_path


def test_what_was_seen_is_never_lowered(tmp_path: Path):
    one, other = VersionFloor(tmp_path / "seen.json"), VersionFloor(tmp_path / "seen.json")
    assert one.of("a") is None
    one.raise_to("a", 3)
    other.raise_to("b", 7)
    other.raise_to("a", 2)
    assert (one.of("a"), one.of("b")) == (3, 7)
    assert (tmp_path / "seen.json").read_text() == '{"version": 1, "floors": {"a": 3, "b": 7}}'


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path):
    def work(i: int) -> None:
        for n in range(10):
            VersionFloor(tmp_path / "seen.json").raise_to(f"{i}-{n}", n)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    floor = VersionFloor(tmp_path / "seen.json")
    assert all(floor.of(f"{i}-{n}") == n for i in range(4) for n in range(10))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"version":2,"floors":{}}',
        '{"version":1,"floors":{"a":-1}}',
        '{"version":1,"floors":{"a":1,"a":0}}',
        '{"version":1,"floors":[]}',
        '{"version":1,"floors":{},"x":1}',
    ],
)
def test_a_damaged_record_is_an_error_and_stays_as_it_is(tmp_path: Path, text: str):
    path = tmp_path / "seen.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        VersionFloor(path).of("a")
    with pytest.raises(UsageError):
        VersionFloor(path).raise_to("a", 1)
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "seen.json.lock").mkdir()
    with pytest.raises(StorageError) as caught:
        VersionFloor(tmp_path / "seen.json").raise_to("a", 1)
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
