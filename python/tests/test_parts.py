"""A dataset in parts, from a server that is honest, and from ones that are not; and through a real vault."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from blake3 import blake3
from lying import Content, Message, Server, seal_statements

import model_vault
from model_vault._names import Reference
from model_vault._proto import common_pb2, fetch_pb2

BESIDE = {"dataset.sig": b"signed", "dataset.tree/images/pieces": b"pieces"}
ONE = {"a/1.png": b"one" * 50_000, "a/2.png": b"", "b.png": b"b"}
TWO = {"c/9.png": b"nine" * 90_000}


@dataclass
class Sealed(Content):
    """A version of a dataset, with a root of its own."""

    root: str = "07" * 32

    def statement(self) -> dict[str, Any]:
        statement = super().statement()
        statement["predicate"]["kind"] = "dataset"
        return statement

    def facts(self) -> common_pb2.Version:
        facts = super().facts()
        facts.kind, facts.root = "dataset", bytes.fromhex(self.root)
        return facts

    def answer(self, request: fetch_pb2.FetchRequest, sealed: bytes | None = None) -> list[Message]:
        messages = super().answer(request, sealed)
        messages[0].start.seal_statements = seal_statements(self.root, self.key)
        return messages

    def part(self) -> dict[str, Any]:
        paths = sorted(self.members)
        content = blake3()
        for path in paths:
            data = self.members[path]
            for field in (len(path).to_bytes(8, "little"), path.encode(), len(data).to_bytes(8, "little")):
                content.update(field)
            content.update(blake3(data).digest())
        ends = {"files": len(paths), "first": paths[0], "last": paths[-1], "content": content.hexdigest()}
        return {"version": self.version, "root": self.root, **ends}


Versions = dict[int, Sealed]


def naming(*parts: dict[str, Any]) -> Sealed:
    text = json.dumps({"parts": parts}).encode()
    return Sealed({"dataset.parts": text, **BESIDE}, version=6)


def versions() -> Versions:
    one, two = Sealed(ONE, version=4, root="04" * 32), Sealed(TWO, version=5, root="05" * 32)
    return {4: one, 5: two, 6: naming(one.part(), two.part())}


def serve(server: Server, held: Versions) -> None:
    def answer(request: fetch_pb2.FetchRequest, context: object) -> list[Message]:
        return held[Reference.parse(request.reference).version or 6].answer(request)

    server.answer = answer


def test_the_files_of_all_parts_are_those_of_the_version_that_names_them(server, connect, tmp_path):
    serve(server, versions())
    artifact = connect().fetch("digits")
    files = {**BESIDE, **ONE, **TWO}
    assert (artifact.version, [m.path for m in artifact.members]) == (6, sorted(files))
    assert artifact.size == sum(map(len, files.values()))
    for path, data in files.items():
        assert artifact.read(path) == data
        assert artifact.read_unverified(path, 1, len(data)) == data[1:]
    saved = artifact.save(tmp_path / "out")
    assert {str(p.relative_to(saved)): p.read_bytes() for p in saved.rglob("*") if p.is_file()} == files
    some = connect().fetch("digits@v6", members=["c/9.png", "dataset.sig"]).save(tmp_path / "some")
    assert {str(p.relative_to(some)) for p in some.rglob("*") if p.is_file()} == {"c/9.png", "dataset.sig"}
    for missing in ("dataset.parts", "a/3.png", "zzz"):
        with pytest.raises(model_vault.NotFound):
            artifact.read(missing)


def test_many_members_come_in_one_call_for_each_part_which_goes_on_where_it_was_cut(server, connect):
    held = versions()
    serve(server, held)
    artifact = connect().fetch("digits")
    files = {**ONE, **TWO}
    before = len(server.requests)
    assert list(artifact.each_unverified(files)) == list(files.values())
    asked = [[(m.path, m.through) for m in r.members] for r in server.requests[before:]]
    assert asked == [[("a/1.png", "b.png")], [("c/9.png", "c/9.png")]]

    # The second is left out of what follows, and each call gives one member, or nothing, before it is cut.
    served = server.answer
    for chunks, fails in ((3, False), (0, True)):

        def cut(request: fetch_pb2.FetchRequest, context: Any, most: int = chunks) -> Iterator[Message]:
            messages = served(request, context)
            chunk = [i for i, message in enumerate(messages) if message.WhichOneof("part") == "chunk"]
            yield from messages[: chunk[most] if len(chunk) > most else -1]
            context.abort(grpc.StatusCode.UNAVAILABLE, "cut")

        server.answer, before = cut, len(server.requests)
        if fails:
            with pytest.raises(model_vault.IntegrityError) as caught:
                list(artifact.each_unverified(["a/1.png", "b.png"]))
            assert caught.value.id == "StreamBroken"
            continue
        assert list(artifact.each_unverified(["a/1.png", "b.png"])) == [ONE["a/1.png"], ONE["b.png"]]
        asked = [[(m.path, m.through) for m in r.members] for r in server.requests[before:]]
        assert asked == [[("a/1.png", "a/1.png"), ("b.png", "b.png")], [("b.png", "b.png")]]

    # Who breaks the contract is not asked again, also where all bytes came.
    for last in (4, -1):
        server.answer = lambda request, context, last=last: served(request, context)[:last]
        before = len(server.requests)
        with pytest.raises(model_vault.IntegrityError) as caught:
            list(artifact.each_unverified(["a/1.png", "b.png"]))
        assert (caught.value.id, len(server.requests) - before) == ("StreamBroken", 1)


def test_members_that_lie_apart_are_asked_for_in_requests_that_a_server_takes(server, connect, tmp_path):
    # Every other one of them, with paths that are long.
    members = {f"{i:04}/{'x' * 200}": b"%d" % i for i in range(2000)}
    wanted = list(members)[::2]
    content = Content(members)
    server.answer = lambda request, context: content.answer(request)
    artifact = connect().fetch("digits", members=wanted)
    assert list(artifact.each_unverified(wanted)) == [members[path] for path in wanted]
    saved = artifact.save(tmp_path / "out")
    assert {str(p.relative_to(saved)): p.read_bytes() for p in saved.rglob("*") if p.is_file()} == {
        path: members[path] for path in wanted
    }
    assert max(request.ByteSize() for request in server.requests) < 256 << 10
    assert len(server.requests) > 3


def swapped(held: Versions) -> None:
    held[5] = replace(held[4])


def older(held: Versions) -> None:
    held[5] = replace(held[5], root="99" * 32)


def rewritten(held: Versions) -> None:
    held[5] = replace(held[5], members={"c/9.png": b"ten!" * 90_000})


def longer(held: Versions) -> None:
    held[5] = replace(held[5], members={**TWO, "d.png": b"d"})


def beside(held: Versions) -> None:
    held[4] = replace(held[4], members={"a/1.png": b"1", "b.png": b"b", "dataset.tree/x": b"x"})
    held[6] = naming({**held[4].part(), "files": 3}, {**held[5].part(), "first": "e", "last": "f", "files": 2})


def twice(held: Versions) -> None:
    held[6] = naming(held[4].part(), {**held[5].part(), "version": 4})


def unordered(held: Versions) -> None:
    held[6] = naming(held[5].part(), held[4].part())


def extended(held: Versions) -> None:
    held[6] = naming({**held[4].part(), "more": 1})


def none(held: Versions) -> None:
    held[6] = naming()


@pytest.mark.parametrize(
    ("lie", "id"),
    [
        (swapped, "BindingMismatch"),
        (older, "BindingMismatch"),
        (rewritten, "BindingMismatch"),
        (longer, "BindingMismatch"),
        (beside, "BindingMismatch"),
        (twice, "ManifestInvalid"),
        (unordered, "ManifestInvalid"),
        (extended, "ManifestInvalid"),
        (none, "ManifestInvalid"),
    ],
)
def test_a_part_that_is_not_the_one_that_was_named_is_refused(
    server, connect, lie: Callable[[Versions], None], id: str
):
    held = versions()
    lie(held)
    serve(server, held)
    with pytest.raises(model_vault.IntegrityError) as caught:
        connect().fetch("digits")
    assert caught.value.id == id


def test_a_dataset_that_a_vault_sealed_in_parts_is_read_as_one(daemon, tmp_path: Path):
    data = tmp_path / "pictures"
    for i in range(60):
        path = data / f"n{i % 3}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image %d" % i)
    daemon.vault("key", "new", "curator", "-o", tmp_path / "k.pem")
    daemon.vault("key", "trust", "curator", "--key", tmp_path / "k.pub.pem")
    daemon.vault("dataset", "sign", data, "--key", tmp_path / "k.pem")
    daemon.vault("seal", data, "--name", "inparts", "--kind", "dataset", "--part-files", "25")
    enrolment = daemon.enrol("reader")
    daemon.vault("grant", "reader", "inparts")
    with model_vault.connect(enrolment=enrolment, state=None) as client:
        dataset = client.dataset("inparts", keys=[tmp_path / "k.pub.pem"], state=None)
        read = {record["__key__"]: record["png"] for record in dataset.records()}
        assert read == {f"n{i % 3}/{i}": b"image %d" % i for i in range(60)}
        saved = client.fetch("inparts").save(tmp_path / "out")
    daemon.vault("dataset", "verify", saved, "--key", tmp_path / "k.pub.pem")
