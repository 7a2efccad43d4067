"""A server that lies is found out before one byte is handed on, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from blake3 import blake3
from lying import (
    Authority,
    Content,
    Message,
    Server,
    envelope,
    keyid_of,
    moment,
    seal_statements,
    signing_key,
    spki_of,
    tag_payload,
    tag_statement,
)

import model_vault
from model_vault._proto import common_pb2, fetch_pb2

BIG = bytes(i * 7 % 251 for i in range(200_000))  # four groups of 2^16, the last one short
MEMBERS = {"a/weights.bin": BIG, "config.json": b"{}", "empty": b"", "z.bin": BIG[:65536]}


def honest(server: Server, content: Content) -> None:
    server.answer = lambda request, context: content.answer(request)


def refused(id: str, act: Callable[[], object]) -> model_vault.VaultError:
    with pytest.raises(model_vault.VaultError) as caught:
        act()
    assert caught.value.id == id, caught.value
    return caught.value


# What is accepted


def test_every_member_arrives_by_every_way(server, connect, tmp_path):
    honest(server, Content(MEMBERS))
    artifact = connect().fetch("digits")
    assert (artifact.version, artifact.reference, artifact.root) == (3, "default/digits@v3", "07" * 32)
    assert artifact.signers == (keyid_of(signing_key(1)),)
    assert [m.path for m in artifact.members] == sorted(MEMBERS)
    assert artifact.size == sum(map(len, MEMBERS.values()))
    for path, data in MEMBERS.items():
        assert artifact.read(path) == data
        with artifact.open(path) as file:
            assert file.seek(0, os.SEEK_END) == len(data)
            file.seek(len(data) // 2)
            assert file.read() == data[len(data) // 2 :]
    saved = artifact.save(tmp_path / "out")
    assert {str(p.relative_to(saved)): p.read_bytes() for p in saved.rglob("*") if p.is_file()} == MEMBERS
    assert {p.stat().st_mode & 0o777 for p in saved.rglob("*") if p.is_file()} == {0o600}
    assert saved.stat().st_mode & 0o777 == 0o700
    # A tag is asked for once: what follows is pinned to the version that was verified.
    assert [r.reference for r in server.requests[:2]] == ["default/digits@latest", "default/digits@v3"]
    assert not any(r.checks_groups for r in server.requests)
    assert len({r.request_id for r in server.requests}) == len(server.requests)


def test_members_can_be_chosen(server, connect, tmp_path):
    honest(server, Content(MEMBERS))
    artifact = connect().fetch("digits@v3", members=["z.bin", "config.json"])
    assert [m.path for m in artifact.members] == ["config.json", "z.bin"]
    assert artifact.read("z.bin") == MEMBERS["z.bin"]
    assert sorted(p.name for p in artifact.save(tmp_path / "out").iterdir()) == ["config.json", "z.bin"]
    refused("NotFound", lambda: artifact.read("empty"))
    refused("InvalidArgument", artifact.single)
    assert connect().fetch("vault://default/digits@v3/config.json").single() == b"{}"
    refused("NotFound", lambda: connect().fetch("digits", members=["other"]))


def test_groups_larger_than_a_message_come_in_pieces(server, connect):
    data = BIG * 12
    honest(server, Content({"m": data}, group_log2=21))
    assert connect().fetch("digits").single() == data


def test_one_function_fetches_into_a_folder(server, connect, tmp_path):
    honest(server, Content(MEMBERS))
    connect()
    place = model_vault.fetch(
        "digits@v3", into=tmp_path / "out", socket=tmp_path / "vault.sock", signers=[spki_of(signing_key(1))]
    )
    assert (place / "config.json").read_bytes() == b"{}"


def test_another_signature_beside_the_trusted_one_is_no_offence(server, connect):
    content = Content(MEMBERS)
    both = envelope(content.payload(), signing_key(9), content.key)
    server.answer = lambda request, context: content.answer(request, both if request.statement_only else None)
    assert connect().fetch("digits").read("config.json") == b"{}"


# Whom to believe


def test_strangers_and_forgers_are_refused(server, connect):
    content = Content(MEMBERS, key=signing_key(2))
    honest(server, content)
    refused("SignatureMissing", lambda: connect().fetch("digits"))
    assert connect(signers=[spki_of(signing_key(1)), spki_of(signing_key(2))]).fetch("digits").version == 3
    forged = json.loads(Content(MEMBERS).envelope())
    forged["signatures"][0]["sig"] = json.loads(content.envelope())["signatures"][0]["sig"]
    server.answer = lambda request, context: content.answer(request, json.dumps(forged).encode())
    refused("SignatureInvalid", lambda: connect().fetch("digits"))


def test_require_signer_narrows_the_trusted_keys(server, connect):
    honest(server, Content(MEMBERS))
    one, two = signing_key(1), signing_key(2)
    client = connect(signers=[spki_of(one), spki_of(two)])
    assert client.fetch("digits", require_signer=[keyid_of(one)[:16]]).version == 3
    assert client.fetch("digits", require_signer=keyid_of(one)).version == 3
    refused("SignatureMissing", lambda: client.fetch("digits", require_signer=[keyid_of(two)]))
    # Where a tag points stays the word of the namespace.
    publisher = Content(MEMBERS, key=two)
    server.answer = lambda request, context: retagged(publisher.answer(request), tag_statement(one))
    assert client.fetch("digits", require_signer=[keyid_of(two)]).signers == (keyid_of(two),)
    refused("SignatureMissing", lambda: client.fetch("digits", require_signer=[keyid_of(signing_key(3))]))
    refused("InvalidArgument", lambda: client.fetch("digits", require_signer=["ab"]))
    refused("InvalidArgument", lambda: client.fetch("digits", require_signer=[]))


def test_without_a_trusted_key_nothing_is_asked(server, connect):
    honest(server, Content(MEMBERS))
    refused("SignatureMissing", lambda: connect(signers=None))
    refused("SignatureMissing", lambda: connect(signers=[]).fetch("digits"))
    assert server.requests == []


def test_the_vault_behind_an_own_socket_can_be_trusted(server, connect, tmp_path):
    honest(server, Content(MEMBERS))
    key = signing_key(1)
    server.signers = [common_pb2.Signer(keyid=keyid_of(key), spki=spki_of(key))]
    assert connect(signers=None, trust_socket=True).fetch("digits").version == 3
    server.signers = [common_pb2.Signer(keyid="00" * 32, spki=spki_of(key))]
    refused("StreamBroken", lambda: connect(signers=None, trust_socket=True).fetch("digits"))
    tmp_path.chmod(0o777)
    refused("BadCredential", lambda: connect(signers=None, trust_socket=True))
    tmp_path.chmod(0o700)


# Something else than was asked for


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("digits", {"name": "letters"}),
        ("digits", {"namespace": "other"}),
        ("digits@v3", {"version": 4}),
        (f"digits@b3:{'08' * 32}", {}),
    ],
)
def test_another_artifact_is_refused(server, connect, asked, offered):
    honest(server, Content(MEMBERS, **offered))
    refused("BindingMismatch", lambda: connect().fetch(asked))


@pytest.mark.parametrize(
    "change",
    [{"number": 4}, {"name": "x"}, {"kind": "dataset"}, {"file_id": b"x"}, {"payload_size": 1}, {"member_count": 9}],
)
def test_the_servers_words_may_not_contradict_the_statement(server, connect, change):
    def answer(request, context):
        messages = Content(MEMBERS).answer(request)
        for key, value in change.items():
            setattr(messages[0].start.version, key, value)
        return messages

    server.answer = answer
    refused("BindingMismatch", lambda: connect().fetch("digits"))


OWN_ROOT, OTHER_ROOT = "07" * 32, "08" * 32


@pytest.mark.parametrize(
    ("id", "root", "seal"),
    [
        ("SignatureInvalid", OTHER_ROOT, seal_statements(OWN_ROOT, signing_key(1))),
        ("SignatureInvalid", OWN_ROOT, seal_statements(OTHER_ROOT, signing_key(1))),
        ("SignatureInvalid", OWN_ROOT, seal_statements(OWN_ROOT, signing_key(1), file_id="08" * 32)),
        ("SignatureInvalid", OWN_ROOT, b"{}"),
        ("SignatureInvalid", OWN_ROOT, b"[1]"),
        ("SignatureInvalid", OWN_ROOT, b"["),
        ("SignatureMissing", OWN_ROOT, b""),
        ("SignatureMissing", OWN_ROOT, b"[]"),
        ("SignatureMissing", OTHER_ROOT, seal_statements(OTHER_ROOT, signing_key(9))),
        # Trusted, but it did not sign the artifact statement: nothing ties its root to this content.
        ("SignatureMissing", OWN_ROOT, seal_statements(OWN_ROOT, signing_key(2))),
        ("LimitExceeded", OWN_ROOT, b" " * ((1 << 20) + 1)),
    ],
)
@pytest.mark.parametrize("pinned", [False, True])
def test_a_root_that_the_signer_did_not_seal_is_refused(server, connect, id, root, seal, pinned):
    def answer(request, context):
        messages = Content(MEMBERS).answer(request)
        messages[0].start.version.root = bytes.fromhex(root)
        messages[0].start.seal_statements = seal
        return messages

    server.answer = answer
    client = connect(signers=[spki_of(signing_key(1)), spki_of(signing_key(2))])
    refused(id, lambda: client.fetch(f"digits@b3:{root}" if pinned else "digits"))


def test_a_forged_seal_statement_is_refused_and_a_strangers_beside_it_is_no_offence(server, connect):
    def seal(statements):
        def answer(request, context):
            messages = Content(MEMBERS).answer(request)
            messages[0].start.seal_statements = statements
            return messages

        server.answer = answer
        return connect().fetch(f"digits@b3:{OWN_ROOT}")

    assert seal(seal_statements(OWN_ROOT, signing_key(9), signing_key(1))).root == OWN_ROOT
    forged = json.loads(seal_statements(OWN_ROOT, signing_key(1)))
    forged[0]["signatures"] = json.loads(seal_statements(OTHER_ROOT, signing_key(1)))[0]["signatures"]
    refused("SignatureInvalid", lambda: seal(json.dumps(forged).encode()))


def test_the_root_does_not_change_between_two_streams(server, connect):
    def answer(request, context):
        messages = Content(MEMBERS).answer(request)
        if not request.statement_only:
            messages[0].start.version.root = bytes.fromhex(OTHER_ROOT)
        return messages

    server.answer = answer
    artifact = connect().fetch("digits")
    refused("BindingMismatch", lambda: artifact.read("config.json"))


def test_a_version_does_not_change_between_two_streams(server, connect):
    first, second = Content(MEMBERS), Content({**MEMBERS, "config.json": b"[]"})
    server.answer = lambda request, context: (first if request.statement_only else second).answer(request)
    artifact = connect().fetch("digits")
    refused("BindingMismatch", lambda: artifact.read("config.json"))


def retagged(messages: list[Message], statement: bytes) -> list[Message]:
    messages[0].start.tag_statement = statement
    return messages


def test_a_tag_goes_forward_by_its_moves(server, connect, tmp_path):
    state = tmp_path / "seen.json"
    honest(server, Content(MEMBERS, version=5, sequence=7))
    first = connect(state=state).fetch("digits")
    assert (first.version, first.tag.sequence, str(first.tag)) == (5, 7, "default/digits@latest")
    for older in ({"version": 4, "sequence": 6}, {"version": 9, "sequence": 6}):
        honest(server, Content(MEMBERS, **older))
        failure = refused("VersionRollback", lambda: connect(state=state).fetch("digits@latest"))
        assert "rollback" in failure.message
        assert "state=None" in failure.hint
        assert connect(state=state).fetch("digits@other").version == older["version"]
        assert connect(state=state).fetch(f"digits@v{older['version']}").tag is None
        assert connect(state=None).fetch("digits").version == older["version"]
    # Two places at one move.
    content = Content(MEMBERS, version=5)
    other = tag_statement(content.key, version=5, sequence=7, root="08" * 32)

    def answer(request, context):
        messages = retagged(content.answer(request), other)
        messages[0].start.version.root = b"\x08" * 32
        messages[0].start.seal_statements = seal_statements("08" * 32, content.key)
        return messages

    server.answer = answer
    refused("VersionRollback", lambda: connect(state=state).fetch("digits"))
    # An operator moved it back, and signed that.
    honest(server, Content(MEMBERS, version=4, sequence=8))
    assert connect(state=state).fetch("digits").version == 4
    honest(server, Content(MEMBERS, version=5, sequence=7))
    refused("VersionRollback", lambda: connect(state=state).fetch("digits"))
    state.write_text("{}")
    refused("ConfigInvalid", lambda: connect(state=state).fetch("digits"))


@pytest.mark.parametrize(
    ("id", "statement"),
    [
        ("SignatureMissing", b""),
        ("SignatureMissing", tag_statement(signing_key(9))),
        ("SignatureInvalid", b"{"),
        ("SignatureInvalid", envelope(json.dumps(tag_payload()).encode(), signing_key(1), payload_type="text/plain")),
        ("SignatureInvalid", Content(MEMBERS).envelope()),
        ("SignatureInvalid", tag_statement(signing_key(1), extra=1)),
        ("SignatureInvalid", tag_statement(signing_key(1), version=0)),
        ("SignatureInvalid", tag_statement(signing_key(1), sequence=0)),
        ("SignatureInvalid", tag_statement(signing_key(1), tag="v3")),
        ("SignatureInvalid", tag_statement(signing_key(1), root="0A" * 32)),
        ("SignatureInvalid", tag_statement(signing_key(1), expires=moment(32))),
        ("SignatureInvalid", tag_statement(signing_key(1), expires=moment(-1))),
        ("SignatureInvalid", tag_statement(signing_key(1), created="now")),
        ("BindingMismatch", tag_statement(signing_key(1), tag="prod")),
        ("BindingMismatch", tag_statement(signing_key(1), name="letters")),
        ("BindingMismatch", tag_statement(signing_key(1), namespace="other")),
        ("BindingMismatch", tag_statement(signing_key(1), version=4)),
        ("BindingMismatch", tag_statement(signing_key(1), root="08" * 32)),
        ("TagStale", tag_statement(signing_key(1), created=moment(-8), expires=moment(-1))),
        ("TagStale", tag_statement(signing_key(1), created=moment(0.01))),
        ("LimitExceeded", b" " * ((16 << 10) + 1)),
    ],
)
def test_where_a_tag_points_is_not_the_servers_word(server, connect, id, statement):
    def answer(request, context):
        messages = Content(MEMBERS).answer(request)
        return retagged(messages, statement) if request.reference.endswith("@latest") else messages

    server.answer = answer
    refused(id, lambda: connect(state=None).fetch("digits"))
    # A version is found without it.
    assert connect().fetch("digits@v3").tag is None


def test_a_forged_tag_statement_and_one_with_another_subject_are_refused(server, connect):
    forged = json.loads(tag_statement(signing_key(1)))
    forged["signatures"] = json.loads(tag_statement(signing_key(1), sequence=9))["signatures"]
    other = tag_payload()
    other["subject"][0]["name"] = "default/digits@prod"
    for statement in (json.dumps(forged).encode(), envelope(json.dumps(other).encode(), signing_key(1))):
        server.answer = lambda request, context, s=statement: retagged(Content(MEMBERS).answer(request), s)
        refused("SignatureInvalid", lambda: connect().fetch("digits"))


def test_a_clock_may_be_a_little_behind(server, connect):
    statement = tag_statement(signing_key(1), created=moment(4 / 1440))
    server.answer = lambda request, context: retagged(Content(MEMBERS).answer(request), statement)
    assert connect().fetch("digits").version == 3


def test_the_enrolments_keys_speak_for_tags_whatever_signers_says(server, tmp_path):
    authority, (one, two) = Authority(), (signing_key(1), signing_key(2))
    address = server.on_tls(authority)
    enrolment = authority.enrol(tmp_path / "enrolment", address, one)
    publisher = Content(MEMBERS, key=two)
    client = model_vault.connect(enrolment=enrolment, signers=[spki_of(two)])
    honest(server, publisher)
    refused("SignatureMissing", lambda: client.fetch("digits"))
    server.answer = lambda request, context: retagged(publisher.answer(request), tag_statement(one))
    assert client.fetch("digits").signers == (keyid_of(two),)
    client.close()


def test_tags_are_remembered_unless_told_otherwise(server, connect, tmp_path):
    honest(server, Content(MEMBERS, sequence=5))
    connect().fetch("digits")
    honest(server, Content(MEMBERS, sequence=4))
    refused("VersionRollback", lambda: connect().fetch("digits"))
    assert (tmp_path / "state/modelvault/versions-seen.json").stat().st_mode & 0o777 == 0o600


# Bytes and order


def chunks(messages: list[Message]) -> list[int]:
    return [i for i, m in enumerate(messages) if m.WhichOneof("part") == "chunk"]


def flip(messages, i):
    data = bytearray(messages[i].chunk.data)
    data[len(data) // 2] ^= 1
    messages[i].chunk.data = bytes(data)


def swap(messages, i):
    messages[i].chunk.data, messages[i - 1].chunk.data = messages[i - 1].chunk.data, messages[i].chunk.data


def drop(messages, i):
    del messages[i]


def drop_and_recount(messages, i):
    messages[-1].end.chunks -= 1
    messages[-1].end.bytes -= len(messages[i].chunk.data)
    del messages[i]


def double(messages, i):
    messages.insert(i, messages[i])


def reorder(messages, i):
    messages[i], messages[i - 1] = messages[i - 1], messages[i]


def of_another_member(messages, i):
    messages[i].chunk.member += 1


def shorten(messages, i):
    messages[i].chunk.data = messages[i].chunk.data[:-1]


def lengthen(messages, i):
    messages[i].chunk.data += b"\0"


def empty(messages, i):
    messages[i].chunk.data = b""


def odd_nodes(messages, i):
    messages[i].chunk.nodes = b"\0" * 63


def no_part(messages, i):
    messages[i] = Message()


def restart(messages, i):
    messages[i] = messages[0]


@pytest.mark.parametrize("where", [0, 2, 3, -1])
@pytest.mark.parametrize(
    ("lie", "id"),
    [
        (flip, "MemberMismatch"),
        (swap, "MemberMismatch StreamBroken"),
        (drop, "StreamBroken"),
        (drop_and_recount, "StreamBroken"),
        (double, "StreamBroken"),
        (reorder, "StreamBroken"),
        (of_another_member, "StreamBroken"),
        (shorten, "StreamBroken MemberMismatch"),
        (lengthen, "StreamBroken"),
        (empty, "StreamBroken"),
        (odd_nodes, "StreamBroken"),
        (no_part, "StreamBroken"),
        (restart, "StreamBroken"),
    ],
)
def test_chunks_that_are_not_the_signed_ones_are_refused(server, connect, tmp_path, lie, id, where):
    def answer(request, context):
        messages = Content(MEMBERS).answer(request)
        if found := chunks(messages):
            lie(messages, found[where])
        return messages

    server.answer = answer
    artifact = connect().fetch("digits")
    with pytest.raises(model_vault.IntegrityError) as caught:
        artifact.save(tmp_path / "out")
    assert caught.value.id in id.split()
    left = [p.name for p in tmp_path.iterdir() if "out" in p.name]
    assert left == []


def test_a_flipped_byte_anywhere_is_found_before_a_byte_is_read(server, connect):
    data = BIG[:70_000]
    content = Content({"m": data})
    position = 0

    def answer(request, context):
        messages = content.answer(request)
        for i in chunks(messages):
            chunk = messages[i].chunk
            if chunk.offset <= position < chunk.offset + len(chunk.data):
                changed = bytearray(chunk.data)
                changed[position - chunk.offset] ^= 0x80
                chunk.data = bytes(changed)
        return messages

    server.answer = answer
    artifact = connect().fetch("digits")
    for position in (0, 1, 65535, 65536, len(data) - 1):  # noqa: B007  # read by answer()
        refused("MemberMismatch", lambda: artifact.read("m"))
        refused("MemberMismatch", lambda: artifact.open("m"))
        refused("MemberMismatch", artifact.single)


@pytest.mark.parametrize("target", ["statement", "bytes"])
@pytest.mark.parametrize(
    "lie",
    [
        lambda m: m.pop(),
        lambda m: m.append(m[-1]),
        lambda m: m.append(m[1]),
        lambda m: setattr(m[-1].end, "chunks", m[-1].end.chunks + 1),
        lambda m: setattr(m[-1].end, "bytes", m[-1].end.bytes + 1),
        lambda m: m.pop(0),
        lambda m: m.pop(1),
        lambda m: m.clear(),
        lambda m: m.insert(1, m[0]),
        lambda m: setattr(m[0].start, "statement_len", m[0].start.statement_len - 1),
        lambda m: setattr(m[0].start, "statement_len", m[0].start.statement_len + 1),
        lambda m: setattr(m[1], "statement", b""),
        lambda m: m.insert(1, Message(statement=b"")),
        lambda m: m.insert(2, Message(statement=b"x")),
        lambda m: m.insert(-1, Message(chunk=fetch_pb2.FetchChunk(member=4, offset=0, data=b"extra"))),
        lambda m: m.insert(-1, Message(chunk=fetch_pb2.FetchChunk(member=3, offset=65536, data=b"extra"))),
    ],
)
def test_a_stream_that_breaks_its_contract_is_refused(server, connect, tmp_path, lie, target):
    def answer(request, context):
        messages = Content(MEMBERS).answer(request)
        if request.statement_only == (target == "statement"):
            lie(messages)
        return messages

    server.answer = answer
    refused("StreamBroken", lambda: connect().fetch("digits").save(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_statements_have_a_limit(server, connect):
    def answer(request, context):
        messages = Content(MEMBERS).answer(request)
        messages[0].start.statement_len = 1 << 40
        return messages

    server.answer = answer
    refused("LimitExceeded", lambda: connect().fetch("digits"))
    honest(server, Content(MEMBERS))


def test_an_extra_member_of_the_server_has_no_place(server, connect):
    more = Content({**MEMBERS, "zz": b"not signed"})

    def answer(request, context):
        return more.answer(request, Content(MEMBERS).envelope())

    server.answer = answer
    refused("BindingMismatch", lambda: connect().fetch("digits"))


def test_an_empty_member_must_have_the_digest_of_nothing(server, connect):
    content = Content({"a": b"", "b": b"x"})
    statement = content.statement()
    statement["subject"][0]["digest"]["blake3"] = blake3(b"y").hexdigest()
    sealed = envelope(json.dumps(statement).encode(), content.key)
    server.answer = lambda request, context: content.answer(request, sealed)
    refused("MemberMismatch", lambda: connect().fetch("digits"))


def test_a_cut_stream_and_a_refusal_on_the_way_leave_nothing(server, connect, tmp_path):
    def cut(code, metadata):
        def answer(request, context):
            messages = Content(MEMBERS).answer(request)
            if request.statement_only:
                yield from messages
                return
            yield from messages[:4]
            context.set_trailing_metadata(metadata)
            context.abort(code, "gone")

        return answer

    for code, metadata, id in [
        (grpc.StatusCode.UNAVAILABLE, (), "StreamBroken"),
        (grpc.StatusCode.INTERNAL, (), "StreamBroken"),
        (grpc.StatusCode.PERMISSION_DENIED, (("x-modelvault-error", "Denied"),), "Denied"),
        (grpc.StatusCode.DATA_LOSS, (("x-modelvault-error", "Integrity"),), "Integrity"),
    ]:
        server.answer = cut(code, metadata)
        artifact = connect().fetch("digits")
        refused(id, lambda artifact=artifact: artifact.save(tmp_path / "out"))
        refused(id, lambda artifact=artifact: artifact.read("a/weights.bin"))
        assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == []


def test_a_server_that_falls_silent_is_given_up(server, connect):
    stopped = threading.Event()

    def answer(request, context):
        yield from Content(MEMBERS).answer(request)[:1]
        stopped.wait(30)

    server.answer = answer
    began = time.monotonic()
    refused("DeadlineExceeded", lambda: connect(silence=0.4).fetch("digits"))
    assert time.monotonic() - began < 10
    stopped.set()


def test_a_message_above_the_limit_is_refused(server, connect):
    server.answer = lambda request, context: [Message(statement=bytes(5 << 20))]
    refused("StreamBroken", lambda: connect().fetch("digits"))


def test_members_too_large_for_memory_are_refused_but_can_be_saved(server, connect, tmp_path):
    honest(server, Content({"m": BIG}))
    artifact = connect(max_member=len(BIG) - 1).fetch("digits")
    failure = refused("LimitExceeded", lambda: artifact.read("m"))
    assert "native client" in failure.hint
    asked = len(server.requests)
    refused("LimitExceeded", lambda: artifact.open("m"))
    assert len(server.requests) == asked
    assert (artifact.save(tmp_path / "out") / "m").read_bytes() == BIG
    assert connect(max_member=len(BIG)).fetch("digits").single() == BIG


def test_a_closed_client_says_so(server, connect):
    honest(server, Content(MEMBERS))
    with connect() as client:
        artifact = client.fetch("digits")
    refused("InvalidArgument", lambda: client.fetch("digits"))
    refused("InvalidArgument", lambda: artifact.read("config.json"))


# Folders


def test_a_disk_that_takes_no_more_leaves_nothing(server, connect, tmp_path):
    honest(server, Content(MEMBERS))
    artifact = connect().fetch("digits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        failure = refused("IoError", lambda: artifact.save(tmp_path / "out"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "out/a/weights.bin" in failure.message
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == []


def test_a_folder_that_exists_is_not_touched(server, connect, tmp_path: Path):
    honest(server, Content(MEMBERS))
    artifact = connect().fetch("digits")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/theirs").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "none").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "none")
    asked = len(server.requests)
    for name in ("full", "file", "link"):
        refused("AlreadyExists", lambda name=name: artifact.save(tmp_path / name))
    refused("AlreadyExists", lambda: artifact.save(tmp_path / "link", overwrite=True))
    assert len(server.requests) == asked
    assert (tmp_path / "full/theirs").read_text() == "x"
    assert (artifact.save(tmp_path / "none") / "empty").exists()
    replaced = artifact.save(tmp_path / "full", overwrite=True)
    assert (replaced / "empty").exists()
    assert not (replaced / "theirs").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_failed_replacement_keeps_the_old_folder(server, connect, tmp_path):
    def answer(request, context):
        messages = Content(MEMBERS).answer(request)
        return messages if request.statement_only else messages[:-1]

    server.answer = answer
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("x")
    artifact = connect().fetch("digits")
    refused("StreamBroken", lambda: artifact.save(tmp_path / "out", overwrite=True))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["old"]


@pytest.mark.parametrize("paths", [("README", "readme"), ("A/x", "a/y"), ("e\u0301", "\u00e9"), ("a", "a/b")])
def test_names_that_merge_are_not_saved_but_can_be_read(server, connect, tmp_path, paths):
    honest(server, Content({path: path.encode() for path in paths}))
    artifact = connect().fetch("digits")
    refused("InvalidArgument", lambda: artifact.save(tmp_path / "out"))
    assert [artifact.read(path) for path in paths] == [path.encode() for path in paths]
    assert not (tmp_path / "out").exists()
