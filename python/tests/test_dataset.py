"""A dataset is verified while it is read: what was not signed is never handed on."""

from __future__ import annotations

import base64
import contextlib
import datetime
import io
import json
import os
import random
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
from curator import Curator, blake3_of, bundle, compact, generate, pem_of, records_root, sha256
from daemon import Daemon, binary
from lying import Content, Server, moment, signing_key

import model_vault
import model_vault.fsspec
from model_vault import VaultError

TYPES = {"n": "int", "t": "text"}


def refused(id: str, act: Callable[[], object]) -> VaultError:
    with pytest.raises(VaultError) as caught:
        act()
    assert caught.value.id == id, caught.value
    return caught.value


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def owner(home: Path) -> Curator:
    """Two files of 40 records each, in pieces of 10."""
    for name in ("a.csv", "b.jsonl"):
        rows = range(40) if name == "a.csv" else range(40, 80)
        if name == "a.csv":
            text = "n,t\n" + "".join(f"{i},row {i:04}\n" for i in rows)
        else:
            text = "".join(f'{{"n":{i},"t":"row {i:04}"}}\n' for i in rows)
        (home / name).write_text(text)
    owner = Curator(home, TYPES)
    owner.sign()
    return owner


def opened(owner: Curator, **options: Any) -> model_vault.Dataset:
    return model_vault.dataset(owner.home, keys=[owner.pem], **options)


def handed(records: Iterator[dict[str, Any]]) -> tuple[list[dict[str, Any]], VaultError]:
    """What came before the error. After it, nothing comes."""
    got = []
    with pytest.raises(VaultError) as caught:
        got.extend(iter(lambda: next(records), None))
    assert list(records) == []
    return got, caught.value


# Records


def single(tmp_path: Path, name: str, data: bytes, types: dict[str, str] | None, **options: Any) -> list[Any]:
    (tmp_path / name).write_bytes(data)
    owner = Curator(tmp_path / name, types, **options)
    owner.beside("dataset.sig").unlink(missing_ok=True)
    owner.sign()
    dataset = model_vault.dataset(owner.home, keys=[owner.pem], state=None)
    records = list(dataset)
    assert len(records) == len(dataset)
    assert dataset.to_arrow().num_rows == dataset.to_pandas().shape[0] == len(records)
    return records


ALL = {"b": "bool", "f": "float", "i": "int", "t": "text"}


def test_values_have_the_types_that_were_signed(tmp_path: Path):
    expected = [
        {"b": True, "f": 1.0, "i": 18446744073709551615, "t": 'é, "x"\r\ny'},
        {"b": False, "f": -2.5e-7, "i": -9223372036854775808, "t": ""},
        {"b": None, "f": None, "i": None, "t": None},
    ]
    rows = 'i,b,t,f\n18446744073709551615,TRUE,"é, ""x""\r\ny",1\n-9223372036854775808,"false","",-2.5e-7\n,,,\n'
    for data in (rows, "\ufeff" + rows, rows.replace("\n", "\r\n").replace("\r\r", "\r"), rows.rstrip("\n")):
        assert single(tmp_path, "t.csv", data.encode(), ALL) == expected
    assert single(tmp_path, "t.tsv", rows.replace(",", "\t").replace("é\t", "é,").encode(), ALL) == expected
    objects = (
        '{"i":18446744073709551615,"b":true,"t":"\\u00e9, \\"x\\"\\r\\ny","f":1}\n'
        '{"f":-2.5e-7 , "t" : "","b":false,"i":-9223372036854775808}\r\n\n{}'
    )
    for data in (objects, "\ufeff" + objects):
        records = single(tmp_path, "t.jsonl", data.encode(), ALL)
        assert records == expected
        assert [type(record["f"]) for record in records] == [float, float, type(None)]


def test_missing_and_empty_are_told_apart_wherever_they_stand(tmp_path: Path):
    rows = '"",x,""\n,"",\n"",,"a,"",b"\n"""","""a""",""""""\n'
    records = single(tmp_path, "t.csv", b"a,b,c\n" + rows.encode(), dict.fromkeys("abc", "text"))
    assert [tuple(r.values()) for r in records] == [
        ("", "x", ""),
        (None, "", None),
        ("", None, 'a,",b'),
        ('"', '"a"', '""'),
    ]
    assert [r["a"] for r in single(tmp_path, "one.csv", b'a\nx\n\n""\ny\n', {"a": "text"})] == ["x", None, "", "y"]
    # In a table of several columns a blank line is none of its rows; one of missing fields alone is.
    two = single(tmp_path, "gaps.csv", b'a,b\n,\n\n"",\n\n,""\n', {"a": "text", "b": "text"})
    assert [tuple(r.values()) for r in two] == [(None, None), ("", None), (None, "")]
    assert len(single(tmp_path, "two.csv", b"a,b\n1,2\n\n\r\n3,4\n", {"a": "int", "b": "int"})) == 2


def test_lines_are_records(tmp_path: Path):
    records = single(tmp_path, "t.txt", "one\n\nthree\r\n é".encode(), None)
    assert records == [{"text": "one"}, {"text": ""}, {"text": "three"}, {"text": " é"}]


def test_a_field_may_be_longer_than_the_csv_module_takes(tmp_path: Path):
    long = "x" * 300_000
    data = f'a,b\n1,short\n2,"{long}, ""so"""\n3,""\n4,\n'.encode()
    records = single(tmp_path, "t.csv", data, {"a": "int", "b": "text"})
    assert [r["b"] for r in records] == ["short", f'{long}, "so"', "", None]


@pytest.mark.parametrize("seed", range(12))
def test_any_table_is_read_as_it_was_written(tmp_path: Path, seed: int):
    rng = random.Random(seed)
    alphabet = ["a", "B", " ", ",", '"', '""', "\n", "\r\n", "é", "😀", "\t", ":", '":', "\ue000", "0", "{", "\\", ""]
    texts = [
        "",
        None,
        '"',
        ",",
        "\n",
        '","',
        *("".join(rng.choices(alphabet, k=rng.randrange(1, 9))) for _ in range(60)),
    ]
    numbers = [None, 0, -1, 1 << 63, -(1 << 63), *(rng.randrange(-(10**6), 10**6) for _ in range(20))]
    floats = [None, 0.5, -1e300, 5e-324, *(rng.random() for _ in range(20))]
    width = rng.randrange(1, 6)
    kinds = [rng.choice(["text", "int", "float", "bool"]) for _ in range(width)]
    types = {f"{'abcde'[i]}{rng.choice(['', ',', ' é'])}": kind for i, kind in enumerate(kinds)}
    pools = {"text": texts, "int": numbers, "float": floats, "bool": [None, True, False]}
    records = [{name: rng.choice(pools[kind]) for name, kind in types.items()} for _ in range(rng.randrange(1, 700))]
    end = rng.choice(["\n", "\r\n"])

    def field(value: Any) -> str:
        plain = (
            ""
            if value is None
            else {True: "true", False: "false"}.get(value)
            if value in (True, False) and type(value) is bool
            else str(value)
            if isinstance(value, str)
            else repr(value)
        )
        if isinstance(value, str) and (value == "" or set(value) & set('",\n\r') or rng.random() < 0.1):
            return '"' + plain.replace('"', '""') + '"'
        return plain

    names = ",".join(f'"{name}"' if "," in name or rng.random() < 0.5 else name for name in types)
    text = rng.choice(["", "\ufeff"]) + names + end + "".join(",".join(map(field, r.values())) + end for r in records)
    if rng.random() < 0.3 and (width > 1 or field(list(records[-1].values())[0])):
        text = text.removesuffix(end)
    per_piece = rng.choice([1, 3, 100])
    assert single(tmp_path, "t.csv", text.encode(), types, per_piece=per_piece) == records

    def spelt(record: dict[str, Any]) -> str:
        members = [(k, v) for k, v in record.items() if v is not None or rng.random() < 0.5]
        rng.shuffle(members)
        spaces = rng.choice([(",", ":"), (", ", ": "), (" , ", " : ")])
        return json.dumps(dict(members), ensure_ascii=rng.random() < 0.5, separators=spaces) + end

    objects = "".join(map(spelt, records))
    assert single(tmp_path, "t.jsonl", objects.encode(), types, per_piece=per_piece) == records


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("t.jsonl", b'{"n":1,"n":2}\n', "twice"),
        ("t.jsonl", b'{"n":1,"n" :2}\n', "twice"),
        ("t.jsonl", b'{"n":1,"t":"secret","x":"n"}\n', "no column"),
        ("t.jsonl", b'{"n":"secret"}\n', "column 'n' has a value that is not int"),
        ("t.jsonl", b'{"n":1.0}\n', "column 'n' has a value that is not int"),
        ("t.jsonl", b'{"n":NaN}\n', "not JSON"),
        ("t.jsonl", b'{"n":1} {"n":2}\n', "not an object"),
        ("t.jsonl", b"[1]\n", "not an object"),
        ("t.jsonl", b'{"t":"\xff"}\n', "not UTF-8"),
        ("t.csv", b"n,t\n1_0,secret\n", "column 'n' has a value that is not int"),
        ("t.csv", b"n,t\n 1,secret\n", "column 'n' has a value that is not int"),
        ("t.csv", "n,t\n١,secret\n".encode(), "column 'n' has a value that is not int"),
        ("t.csv", b"n,t\n1,secret,x\n", "a row of 3 fields in a table of 2"),
        ("t.csv", b'n,t\n1,"secret"x\n', "quote"),
        ("t.csv", b"n,t\n1,sec\rret\n", "carriage return"),
        ("t.csv", b"n,u\n1,secret\n", "header"),
    ],
)
def test_what_is_signed_and_no_record_is_refused_without_quoting_it(tmp_path: Path, name: str, data: bytes, why: str):
    (tmp_path / name).write_bytes(data)
    owner = Curator(tmp_path / name, TYPES)
    owner.sign()
    error = refused("RecordInvalid", lambda: list(opened(owner)))
    assert error.message.startswith(f"{name}, ") and why in error.message and "secret" not in str(error)


def test_nested_values_are_read_and_their_keys_counted(tmp_path: Path):
    data = b'{"a":{"x":[1,{"y":"\\":"}]}}\n{"a":"u:v"}\n'
    assert single(tmp_path, "t.jsonl", data, {"a": "any"}) == [{"a": {"x": [1, {"y": '":'}]}}, {"a": "u:v"}]
    (tmp_path / "t.jsonl").write_bytes(b'{"a":{"x":1,"x":2}}\n')
    owner = Curator(tmp_path / "t.jsonl", {"a": "any"}, key=signing_key(4))
    owner.sign()
    refused("RecordInvalid", lambda: list(opened(owner)))


# Faults


def flip(at: int) -> Callable[[Path], None]:
    def act(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[at] ^= 1
        file.write_bytes(data)

    return act


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda file: drop(file.write_bytes(change(file.read_bytes())))


def drop(_: object) -> None:
    return None


def link(file: Path) -> None:
    file.rename(file.parent.parent / "moved")
    file.symlink_to(file.parent.parent / "moved")


# The header of a.csv has 4 bytes, and a piece 10 rows; those of n < 10 have 11 bytes, others 12.
@pytest.mark.parametrize(
    ("fault", "first", "end", "records"),
    [
        (flip(0), 0, 4, (0, 0)),
        (flip(4), 4, 114, (1, 10)),
        (flip(114 + 119), 114, 234, (11, 20)),
        (flip(-1), 354, 474, (31, 40)),
        (rewrite(lambda d: d[:114] + d[234:354] + d[114:234] + d[354:]), 114, 234, (11, 20)),
        (rewrite(lambda d: d.replace(b"row 0015", b"rwo 0015")), 114, 234, (11, 20)),
        (rewrite(lambda d: d[:-1]), 473, 474, (31, 40)),
        (rewrite(lambda d: d[:200]), 200, 474, (11, 40)),
        (rewrite(lambda d: b""), 0, 474, (1, 40)),
        (rewrite(lambda d: d + b"9,more\n"), 474, 481, (0, 0)),
        (Path.unlink, 0, 474, (1, 40)),
        (link, 0, 474, (1, 40)),
        (lambda f: (f.unlink(), f.mkdir()), 0, 474, (1, 40)),
    ],
)
def test_every_fault_is_named_and_nothing_of_it_handed_on(owner, fault, first, end, records):
    signed = list(opened(owner))
    before = opened(owner)
    fault(owner.home / "a.csv")

    def check(error: VaultError) -> None:
        assert error.id == "DatasetChanged" and isinstance(error, model_vault.IntegrityError)
        assert error.message.startswith("a.csv: ") and "row" not in error.message
        facts = {k: int(v) for k, v in error.details.items() if k != "file"}
        assert error.details["file"] == "a.csv"
        assert facts == {
            "first_byte": first,
            "last_byte": end - 1,
            "first_record": records[0],
            "last_record": records[1],
        }

    # A reader that was open before finds it when it gets there; another one at once, or there.
    for dataset in (lambda: before, lambda: opened(owner)):
        with contextlib.suppress(VaultError):
            got, error = handed(dataset().records())
            check(error)
            assert got == signed[: len(got)] and len(got) <= max(0, records[0] - 1) // 10 * 10
            with pytest.raises(VaultError) as caught, dataset().open("a.csv") as file:
                file.read()
            check(caught.value)
            continue
    with pytest.raises(VaultError) as caught:
        list(opened(owner))
    check(caught.value)


def test_what_lies_beside_the_files_is_held_against_the_statement(owner):
    pieces = owner.beside("dataset.tree") / "a.csv" / "pieces"
    text = pieces.read_text()
    for changed in (text.replace("10 ", "11 ", 1), text + "1 0 " + "00" * 32 + "\n", ""):
        pieces.write_text(changed)
        error = refused("DatasetChanged", lambda: list(opened(owner)))
        assert error.message.startswith("a.csv: records 1 to 40 ") and "list of pieces" in error.message
    pieces.unlink()
    refused("DatasetChanged", lambda: list(opened(owner)))
    # What is read without it is as it was.
    pieces.write_text(text)
    assert len(list(opened(owner))) == 80


@pytest.mark.parametrize("text", ["x\n", "474 40 {0}", "473 40 {0}\n", "474 39 {0}\n", "0 0 {0}\n474 41 {0}\n"])
def test_a_list_of_pieces_that_was_signed_and_breaks_a_rule_is_refused(owner, text):
    text = text.format("00" * 32)
    statement = owner.statement()
    statement["predicate"]["files"][0]["pieces"] = sha256(text.encode())
    owner.sign(statement)
    (owner.beside("dataset.tree") / "a.csv" / "pieces").write_text(text)
    refused("DatasetChanged", lambda: list(opened(owner)))


def test_a_directory_that_became_a_link_leads_nowhere(home: Path):
    (home / "in").mkdir()
    (home / "in" / "a.txt").write_text("one\n")
    owner = Curator(home)
    owner.sign()
    assert list(opened(owner)) == [{"text": "one"}]
    (home / "in").rename(home.parent / "out")
    (home / "in").symlink_to(home.parent / "out")
    refused("DatasetChanged", lambda: list(opened(owner)))


def test_a_file_is_read_under_the_name_it_was_signed(tmp_path: Path):
    (tmp_path / "a.csv").write_text("n,t\n1,x\n")
    owner = Curator(tmp_path / "a.csv", TYPES)
    owner.sign()
    assert list(opened(owner)) == [{"n": 1, "t": "x"}]
    for path in tmp_path.glob("a.csv*"):
        path.rename(tmp_path / path.name.replace("a.csv", "b.csv"))
    owner.home = tmp_path / "b.csv"
    refused("DatasetChanged", lambda: opened(owner))


def test_what_was_not_signed_is_not_read(owner):
    (owner.home / "c.csv").write_text("n,t\n666,poison\n")
    dataset = opened(owner)
    assert len(list(dataset)) == len(dataset) == 80
    refused("NotFound", lambda: dataset.open("c.csv"))


# Whom to believe, and which version


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p384", "ml-dsa-65"])
def test_keys_of_every_algorithm_verify(owner, kind, tmp_path):
    owner.beside("dataset.sig").unlink()
    owner.payloads.clear()
    owner.key = generate(kind)
    owner.sign()
    assert opened(owner).signers == (model_vault._dataset.keys.load_keys(owner.pem)[0].keyid,)
    refused("SignatureMissing", lambda: model_vault.dataset(owner.home, keys=[pem_of(generate(kind))]))
    lines = json.loads(owner.beside("dataset.sig").read_text())
    signature = bytearray(base64.b64decode(lines["dsseEnvelope"]["signatures"][0]["sig"]))
    signature[-1] ^= 1
    lines["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    owner.beside("dataset.sig").write_text(json.dumps(lines))
    refused("SignatureInvalid", lambda: opened(owner))


def test_one_key_of_an_identity_is_enough(owner, tmp_path):
    keys = [generate("p256"), generate("ed25519"), generate("ml-dsa-65")]
    owner.beside("dataset.sig").unlink()
    owner.payloads.clear()
    owner.sign(keys=keys)
    file = tmp_path / "all.pub.pem"
    file.write_text(pem_of(*keys))
    assert len(model_vault.dataset(owner.home, keys=file).signers) == 3
    for key in keys:
        assert len(model_vault.dataset(owner.home, keys=[pem_of(key), pem_of(generate("p256"))]).signers) == 1


def test_what_is_no_public_key_is_refused(owner, tmp_path):
    for bad in ([], [""], [b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"], ["-----BEGIN x"]):
        with pytest.raises(model_vault.VaultError) as caught:
            model_vault.dataset(owner.home, keys=bad)
        assert caught.value.id in ("InvalidArgument", "IoError")
    refused("NotFound", lambda: model_vault.dataset(owner.home, keys=[tmp_path / "none"]))
    refused("NotFound", lambda: model_vault.dataset(tmp_path / "none", keys=[owner.pem]))


def test_strangers_count_for_nothing_and_forgers_are_found(owner):
    owner.sign(owner.about(owner.statement()["predicate"] | {"licence": "stolen"}), keys=[signing_key(9)])
    assert opened(owner).version == 1
    lines = owner.beside("dataset.sig").read_text().splitlines()
    forged = json.loads(lines[1])
    forged["verificationMaterial"] = json.loads(lines[0])["verificationMaterial"]
    owner.beside("dataset.sig").write_text(lines[0] + "\n" + json.dumps(forged))
    refused("SignatureInvalid", lambda: opened(owner))
    owner.beside("dataset.sig").unlink()
    refused("SignatureMissing", lambda: opened(owner))


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.update(mediaType="application/json"),
        lambda b: b.update(more=1),
        lambda b: b["dsseEnvelope"].update(payloadType="text/plain"),
        lambda b: b["dsseEnvelope"].update(payload="cGF5bG9hZA"),
        lambda b: b["dsseEnvelope"]["signatures"].append(b["dsseEnvelope"]["signatures"][0]),
        lambda b: b["dsseEnvelope"]["signatures"].clear(),
        lambda b: b["verificationMaterial"].update(certificate={}),
        lambda b: b["verificationMaterial"].update(publicKey={"hint": 7}),
        lambda b: b["verificationMaterial"].update(more={}),
    ],
)
def test_a_malformed_bundle_is_refused_with_its_line(owner, change):
    document = bundle(owner.payloads[0], owner.key)
    change(document)
    with owner.beside("dataset.sig").open("a") as file:
        file.write("\n" + compact(document) + "\n")
    assert "line 3" in refused("BundleMalformed", lambda: opened(owner)).message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version":1', '"version":2'),
        ('"version":1', '"version":0'),
        ('"records":80', '"records":81'),
        ('"size":474', '"size":475'),
        ('"path":"a.csv"', '"path":"../a.csv"'),
        ('"path":"a.csv"', '"path":"c.csv"'),
        ('"format":"csv"', '"format":"../csv"'),
        ('"pieces":"', '"piece":"'),
        ('"created":"', '"created":"x'),
        ('"created"', '"excluded":[{"contributor":"x","reason":"y"}],"created"'),
        ('"created"', '"exclude":[],"created"'),
        ('"type":"int"', '"type":"money"'),
        ("dataset/v1", "dataset/v2"),
        ("Statement/v1", "Statement/v0.1"),
    ],
)
def test_a_statement_that_contradicts_itself_is_refused(owner, old, new):
    text = owner.payloads[0].decode()
    assert old in text
    changed = text.replace(old, new, 1).encode()
    owner.beside("dataset.sig").write_text(compact(bundle(changed, owner.key)))
    refused("BundleMalformed", lambda: opened(owner))


def test_versions_make_one_line(owner):
    owner.sign()
    assert opened(owner).version == 2
    sidecar = owner.beside("dataset.sig")
    both = sidecar.read_text()
    one, two = both.splitlines()
    refused("VersionRollback", lambda: (sidecar.write_text(one), opened(owner)))
    assert opened(owner, state=None).version == 1
    refused("VersionRollback", lambda: opened(owner, state=None, min_version=2))
    other = owner.about(json.loads(owner.payloads[1])["predicate"] | {"licence": "other"})
    fork = compact(bundle(compact(other).encode(), owner.key))
    refused("DatasetForked", lambda: (sidecar.write_text(both + fork), opened(owner, state=None)))
    refused("DatasetForked", lambda: (sidecar.write_text(one + "\n" + fork), opened(owner)))
    stray = owner.about(json.loads(owner.payloads[1])["predicate"] | {"previous": "00" * 32})
    refused(
        "DatasetForked",
        lambda: (
            sidecar.write_text(one + "\n" + compact(bundle(compact(stray).encode(), owner.key))),
            opened(owner, state=None),
        ),
    )
    sidecar.write_text(two)
    assert opened(owner).version == 2, "one between may be missing"


def test_what_is_too_new_is_held_back(owner):
    assert opened(owner, min_age=datetime.timedelta(0)).version == 1
    refused("Denied", lambda: opened(owner, min_age=datetime.timedelta(days=7)))


def test_a_statement_ends(owner):
    owner.sign(expires=moment(1))
    assert opened(owner).statement.expires > datetime.datetime.now(datetime.UTC)
    owner.sign(expires=moment(-1))
    refused("StatementExpired", lambda: opened(owner))


def test_what_was_seen_is_kept_as_the_command_line_keeps_it(owner, tmp_path):
    opened(owner, state=None)
    opened(owner, state=False)
    kept = tmp_path / "state" / "modelvault" / "datasets-seen.json"
    assert not kept.exists()
    dataset = opened(owner)
    row = {"version": 1, "digest": sha256(owner.payloads[0])}
    assert json.loads(kept.read_text()) == {f"{dataset.signers[0]} d": row}
    opened(owner, state=tmp_path / "other.json")
    assert json.loads((tmp_path / "other.json").read_text()) == json.loads(kept.read_text())
    kept.write_text("{")
    refused("ConfigInvalid", lambda: opened(owner))


def test_a_dataset_that_is_not_what_was_signed_does_not_raise_what_was_seen(owner):
    opened(owner)
    first = owner.beside("dataset.sig").read_text()
    owner.sign()
    (owner.home / "a.csv").unlink()
    refused("DatasetChanged", lambda: opened(owner))
    owner.beside("dataset.sig").write_text(first)
    refused("DatasetChanged", lambda: opened(owner))


# Files


def test_a_file_is_what_was_signed_wherever_it_is_read(owner):
    data = (owner.home / "a.csv").read_bytes()
    rng = random.Random(3)
    with opened(owner).open("a.csv") as file:
        assert file.seekable() and file.readable() and not file.writable()
        for _ in range(300):
            at, count = rng.randrange(len(data) + 20), rng.randrange(60)
            assert file.seek(at) == at
            assert file.read(count) == data[at : at + count]
        assert file.seek(-3, os.SEEK_END) == len(data) - 3
        assert file.read() == data[-3:] and file.read() == b""
        file.seek(0)
        assert file.read() == data
    with pytest.raises(ValueError):
        file.read()


def test_a_bad_piece_is_found_when_it_is_read_and_stays_bad(owner):
    data = (owner.home / "a.csv").read_bytes()
    flip(240)(owner.home / "a.csv")
    with opened(owner).open("a.csv") as buffered:
        file = buffered.raw  # without the buffer, whose reads are larger
        assert file.read(4) == data[:4]
        file.seek(234)
        refused("DatasetChanged", lambda: file.read(1))
        (owner.home / "a.csv").write_bytes(data)
        refused("DatasetChanged", lambda: file.read(1))
        file.seek(0)
        refused("DatasetChanged", lambda: file.read(1))


def test_pandas_and_arrow_read_it_or_fail_as_it_does(owner, tmp_path):
    dataset = opened(owner)
    assert pandas.read_csv(dataset.open("a.csv")).equals(pandas.read_csv(owner.home / "a.csv"))
    assert pyarrow.csv.read_csv(dataset.open("a.csv")).num_rows == 40
    assert pandas.read_json(dataset.open("b.jsonl"), lines=True).shape == (40, 2)
    assert list(dataset.to_pandas()["n"]) == list(range(80))
    assert dataset.to_pandas().dtypes["n"] == "int64"
    assert dataset.to_arrow().schema.field("n").type == pyarrow.int64()
    flip(-1)(owner.home / "a.csv")
    refused("DatasetChanged", lambda: pandas.read_csv(dataset.open("a.csv")))
    refused("DatasetChanged", lambda: pyarrow.csv.read_csv(dataset.open("a.csv")))
    refused("DatasetChanged", dataset.to_pandas)
    refused("DatasetChanged", dataset.to_arrow)


def test_tables_lose_no_digit(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"i":18446744073709551615,"a":[1]}\n' + '{"i":1}\n' * 20)
    owner = Curator(tmp_path / "t.jsonl", {"i": "int", "a": "any"})
    owner.sign()
    dataset = opened(owner)
    assert dataset.to_arrow().column("i").to_pylist() == [18446744073709551615] + [1] * 20
    assert dataset.to_arrow().column("a").to_pylist() == ["[1]"] + [None] * 20
    assert list(dataset.to_pandas()["i"]) == [18446744073709551615] + [1] * 20
    (tmp_path / "t.jsonl").write_text('{"i":18446744073709551615}\n{"i":-1}\n')
    owner.sign()
    assert list(map(int, opened(owner).to_arrow().column("i").to_pylist())) == [18446744073709551615, -1]


def test_parquet_is_read_as_a_file_and_as_records(home: Path):
    table = pyarrow.table({"n": list(range(200_000)), "t": [f"row {i}" for i in range(200_000)]})
    pyarrow.parquet.write_table(table, home / "t.parquet", compression="none", row_group_size=50_000)
    owner = Curator(home, TYPES, changes={"parquet_records": 200_000})
    owner.sign()
    dataset = opened(owner)
    assert len(owner.cuts["t.parquet"]) > 2
    assert pyarrow.parquet.read_table(dataset.open("t.parquet")).equals(table)
    assert list(dataset) == table.to_pylist()
    assert [r["n"] for r in dataset.records(shuffle_seed=1)] == list(range(200_000))
    assert dataset.to_arrow().equals(table)
    assert dataset.receipt()["predicate"]["runDetails"]["byproducts"][0]["annotations"]["records"] == 600_000
    flip(2_000_000)(home / "t.parquet")
    refused("DatasetChanged", lambda: pyarrow.parquet.read_table(dataset.open("t.parquet")))
    refused("DatasetChanged", lambda: list(dataset))


# Contributors


def people(*records: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"name": f"c{i}", "keyid": "01" * 32, "statement": "02" * 32, "records": n} for i, n in records]


@pytest.fixture
def excluding(owner: Curator) -> Curator:
    """Of a.csv, records 1 to 5 and 16 to 40 are by c1 and c3; of b.jsonl all by c2."""
    owner.contributors = {"a.csv": [(5, 1), (10, 2), (15, 3), (10, 1)], "b.jsonl": [(40, 2)]}
    excluded = [{"contributor": name, "reason": "poison"} for name in ("c1", "c3")]
    owner.sign(contributors=people((1, 15), (2, 50), (3, 15)), unattributed=0, excluded=excluded)
    return owner


def test_records_of_excluded_contributors_are_left_out(excluding):
    dataset = opened(excluding)
    wanted = [*range(5, 15), *range(40, 80)]
    assert dataset.excluded == {"c1": "poison", "c3": "poison"}
    assert len(dataset) == len(wanted)
    assert [r["n"] for r in dataset] == list(dataset.to_pandas()["n"]) == wanted
    assert dataset.to_arrow().column("n").to_pylist() == wanted
    assert sorted(r["n"] for r in dataset.records(shuffle_seed=5)) == wanted
    assert "c1" in refused("Denied", lambda: dataset.open("a.csv")).message
    assert len(dataset.open("a.csv", excluded="keep").read()) == 474
    assert dataset.open("b.jsonl").read(1) == b"{", "a file without them is as it was"
    facts = dataset.receipt()["predicate"]["runDetails"]["byproducts"][0]["annotations"]
    assert facts["reads"][:2] == [[0, "a.csv", 0, 4, 1, 40], [0, "b.jsonl", 0, 3, 1, 40]]


@pytest.mark.parametrize(
    ("runs", "changes"),
    [
        ("39 1\n", {}),
        ("40 4\n", {}),
        ("0 1\n40 2\n", {}),
        ("40 1 1\n", {}),
        (None, {"unattributed": 1}),
        (None, {"contributors": people((1, 81))}),
        (None, {"contributors": people((1, 40), (1, 40))}),
        (None, {"contributors": [], "excluded": []}),
        (None, {"excluded": [{"contributor": "c9", "reason": "x"}]}),
        (None, {"excluded": [{"contributor": "c1", "reason": "x"}] * 2}),
    ],
)
def test_what_is_signed_of_contributors_is_of_one_piece(owner, runs, changes):
    owner.contributors = {"a.csv": [(40, 1)], "b.jsonl": [(40, 2)]}
    excluded = [{"contributor": "c1", "reason": "x"}]
    statement = owner.statement(
        **{"contributors": people((1, 40), (2, 40)), "unattributed": 0, "excluded": excluded} | changes
    )
    if runs is not None:
        (owner.beside("dataset.tree") / "a.csv" / "contributors").write_text(runs)
        statement["predicate"]["files"][0]["contributors"] = sha256(runs.encode())
    owner.sign(statement)
    refused("BundleMalformed" if runs is None else "DatasetChanged", lambda: list(opened(owner)))


def test_the_list_of_contributors_is_held_against_the_statement(excluding):
    runs = excluding.beside("dataset.tree") / "a.csv" / "contributors"
    runs.write_text(runs.read_text().replace("5 1", "4 1").replace("10 2", "11 2"))
    refused("DatasetChanged", lambda: list(opened(excluding)))
    refused("DatasetChanged", lambda: opened(excluding).open("a.csv"))
    runs.unlink()
    refused("DatasetChanged", lambda: list(opened(excluding)))


# Order and receipts


def test_pieces_are_shuffled_by_seed_and_epoch_and_no_record_twice(owner):
    dataset = opened(owner)
    plain = [r["n"] for r in dataset]

    def order(**options: Any) -> list[int]:
        return [r["n"] for r in dataset.records(**options)]

    one = order(shuffle_seed=1)
    assert one == order(shuffle_seed=1) == [r["n"] for r in opened(owner).records(shuffle_seed=1)]
    assert sorted(one) == plain and one != plain
    assert len({tuple(order(shuffle_seed=s, epoch=e)) for s in (1, 2) for e in (0, 1)}) == 4
    # As the documentation says: pieces ascending by SHA-256 of "SEED EPOCH PATH PIECE".
    pieces = [("a.csv", i) for i in range(5)] + [("b.jsonl", i) for i in range(4)]
    pieces.sort(key=lambda p: sha256(f"1 0 {p[0]} {p[1]}".encode()))
    first = {("a.csv", i): (i - 1) * 10 for i in range(1, 5)} | {("b.jsonl", i): 40 + i * 10 for i in range(4)}
    assert one == [n for p in pieces if p in first for n in range(first[p], first[p] + 10)]


def read_set(owner: Curator, reads: list[list[Any]]) -> str:
    """As whoever checks a receipt computes it."""
    lines = ""
    for epoch, path, first, last, *_ in reads:
        for piece in range(first, last + 1):
            lines += f"{epoch} {path} {piece} {blake3_of(owner.cuts[path][piece][0])}\n"
    return sha256(lines.encode())


def test_the_receipt_says_what_was_read(owner, tmp_path):
    dataset = opened(owner)
    list(dataset)
    list(dataset.records(epoch=1, shuffle_seed=7))
    partly = dataset.records(epoch=2)
    got = [next(partly) for _ in range(13)]
    partly.close()
    assert len(got) == 13
    dataset.open("b.jsonl", epoch=3).read(1)
    (tmp_path / "model.bin").write_bytes(b"weights")
    receipt = dataset.receipt([tmp_path / "model.bin"])
    assert receipt["subject"] == [{"name": "model.bin", "digest": {"sha256": sha256(b"weights")}}]
    assert receipt["predicateType"] == "https://slsa.dev/provenance/v1"
    build = receipt["predicate"]["buildDefinition"]
    assert build["externalParameters"] == {"order_seed": 7, "epochs": 4}
    assert build["resolvedDependencies"] == [
        {
            "name": "d",
            "digest": {"sha256": dataset.root},
            "annotations": {"version": 1, "statement": sha256(owner.payloads[0])},
        }
    ]
    (found,) = receipt["predicate"]["runDetails"]["byproducts"]
    reads = found["annotations"]["reads"]
    assert reads[:2] == [[0, "a.csv", 0, 4, 1, 40], [0, "b.jsonl", 0, 3, 1, 40]]
    assert reads[-2:] == [[2, "a.csv", 0, 2, 1, 20], [3, "b.jsonl", 0, 0, 1, 10]]
    assert found["annotations"]["records"] == 80 + 80 + 13 + 10
    assert found["annotations"]["unfinished"] == 1, "the pass that was closed after 13 records"
    assert found["digest"]["sha256"] == read_set(owner, reads)
    shuffled = [r for r in reads if r[0] == 1]
    assert sum(last - first + 1 for *_, first, last in shuffled if last) == 80
    dataset.write_receipt(tmp_path / "receipt.json", [tmp_path / "model.bin"])
    assert json.loads((tmp_path / "receipt.json").read_text()) == receipt
    # Sealed off at the call.
    list(dataset)
    assert found["annotations"]["reads"] == reads and dataset.receipt() != receipt
    refused("NotFound", lambda: dataset.receipt([tmp_path / "none"]))


def test_a_piece_that_is_bad_is_not_in_the_receipt(owner):
    flip(240)(owner.home / "a.csv")
    dataset = opened(owner)
    handed(dataset.records())
    facts = dataset.receipt()["predicate"]["runDetails"]["byproducts"][0]["annotations"]
    assert facts == {"records": 20, "unfinished": 1, "reads": [[0, "a.csv", 0, 2, 1, 20]]}


# Other libraries


def test_fsspec_lists_and_opens_what_was_signed(owner, home):
    (home / "in").mkdir()
    (home / "in" / "c.csv").write_text("n,t\n1,x\n")
    owner.sign()
    options = {"dataset": str(home), "keys": [owner.pem]}
    assert pandas.read_csv("vaultdata://a.csv", storage_options=options).shape == (40, 2)
    files = model_vault.fsspec.VaultDataFileSystem(**options)
    assert sorted(files.ls("", detail=False)) == ["a.csv", "b.jsonl", "in"]
    assert files.ls("in", detail=False) == ["in/c.csv"]
    assert sorted(files.glob("**/*.csv")) == ["a.csv", "in/c.csv"]
    assert files.info("vaultdata://in/c.csv")["size"] == 8
    assert files.cat("in/c.csv") == b"n,t\n1,x\n"
    refused("InvalidArgument", lambda: files.open("a.csv", "wb"))
    with pytest.raises(FileNotFoundError):
        files.ls("none")
    flip(5)(home / "in" / "c.csv")
    refused("DatasetChanged", lambda: files.cat("in/c.csv"))


def test_hugging_face_takes_it(owner):
    pytest.importorskip("datasets")
    dataset = opened(owner)
    found = dataset.to_datasets()
    assert found.num_rows == 80 and found[3] == {"n": 3, "t": "row 0003"}
    assert [r["n"] for r in dataset.to_datasets(streaming=True)] == list(range(80))


def test_a_library_that_is_missing_is_named(owner, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    error = refused("InvalidArgument", opened(owner).to_pandas)
    assert "pandas" in error.message and error.hint == "pip install pandas"


# Memory


def test_memory_does_not_grow_with_the_file(tmp_path: Path):
    path = tmp_path / "big.csv"
    line = b"1234567," + b"x" * 1015 + b"\n"
    block = line * (1 << 10)
    count = (64 << 20) // len(block) + 1
    with path.open("wb") as file:
        file.write(b"n,t\n")
        for _ in range(count):
            file.write(block)
    owner = Curator(path, TYPES, name="big")
    pieces = [(b"n,t\n", 0)] + [(block, 1 << 10)] * count
    text = "".join(f"{len(data)} {records} {blake3_of(data)}\n" for data, records in pieces)
    tree = owner.beside("dataset.tree") / "big.csv"
    tree.mkdir(parents=True)
    (tree / "pieces").write_text(text)
    entry = {
        "path": "big.csv",
        "format": "csv",
        "size": path.stat().st_size,
        "sha256": "00" * 32,
        "records": count << 10,
        "root": "00" * 32,
        "pieces": sha256(text.encode()),
    }
    schema = {"records": "rows", "columns": [{"name": n, "type": t} for n, t in TYPES.items()]}
    facts = {"version": 1, "created": moment(0), "schema": schema, "records": count << 10, "files": [entry]}
    owner.sign(owner.about(facts))
    dataset = opened(owner)
    tracemalloc.start()
    try:
        assert sum(1 for _ in dataset) == count << 10
        records = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        with dataset.open("big.csv") as file:
            while file.read(1 << 20):
                pass
        bytes_ = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 64 << 20
    assert records < 12 << 20 and bytes_ < 8 << 20, (records, bytes_)


# Through a vault


def members(home: Path) -> dict[str, bytes]:
    return {str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file()}


def serve(server: Server, content: Content) -> None:
    server.answer = lambda request, context: content.answer(request)


def test_a_sealed_version_is_read_piece_by_piece(server, connect, owner):
    serve(server, Content(members(owner.home)))
    client = connect()
    dataset = client.dataset("digits@v3", keys=[owner.pem])
    assert list(dataset) == list(opened(owner))
    assert client.dataset("digits").version == 1, "without keys: the signers of the artifact"
    assert sorted(r["n"] for r in dataset.records(shuffle_seed=1)) == list(range(80))
    assert dataset.open("a.csv").read() == (owner.home / "a.csv").read_bytes()
    refused("SignatureMissing", lambda: client.dataset("digits", keys=[pem_of(signing_key(5))]))
    refused("InvalidArgument", lambda: client.dataset("vault://default/digits@v3/a.csv"))


def test_members_come_in_ranges_and_not_as_a_whole(server, connect, home, monkeypatch):
    lines = b"".join(b"%06d %s\n" % (i, b"x" * 992) for i in range(1000))
    (home / "t.txt").write_bytes(lines)
    owner = Curator(home, per_piece=100)
    owner.sign()
    content = Content(members(home))
    serve(server, content)
    monkeypatch.setattr(model_vault._dataset.source, "_AHEAD", 300_000)
    dataset = connect(max_member=200_000).dataset("digits", keys=[owner.pem])
    assert [r["text"][:6] for r in dataset] == [f"{i:06}" for i in range(1000)]
    ranges = [
        r.members[0].range.to - getattr(r.members[0].range, "from")
        for r in server.requests
        if r.members and r.members[0].path == "t.txt"
    ]
    assert 3 <= len(ranges) <= 5 and max(ranges) <= 300_000
    # The server is not believed: neither its member digests nor its ranges count, but what was signed of the pieces.
    lying = Content(members(home) | {"t.txt": lines.replace(b"000450 x", b"000450 y")})
    lying.version = 3
    envelope = content.envelope()
    server.answer = lambda request, context: lying.answer(request, envelope)
    got, error = handed(dataset.records())
    assert len(got) == 400 and error.id == "DatasetChanged" and error.details["first_record"] == "401"


def test_the_real_daemon_serves_it(daemon: Daemon, owner):
    daemon.vault("seal", owner.home, "--name", "rows")
    enrolment = daemon.enrol("trainer")
    daemon.vault("grant", "trainer", "rows")
    with model_vault.connect(enrolment=enrolment) as client:
        dataset = client.dataset("rows@v1", keys=[owner.pem])
        assert list(dataset) == list(opened(owner))
        assert len(list(dataset.records(shuffle_seed=3))) == 80
        assert pandas.read_csv(dataset.open("a.csv")).shape == (40, 2)


# What the command line signed


@pytest.fixture
def vault(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([binary(), *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    return run


def signed_by_vault(vault, home: Path, tmp_path: Path) -> tuple[model_vault.Dataset, dict[str, Any]]:
    vault("key", "new", "curator", "-o", tmp_path / "curator.pem")
    vault("dataset", "sign", home, "--key", tmp_path / "curator.pem")
    vault("dataset", "verify", home, "--key", tmp_path / "curator.pub.pem")
    line = json.loads((home / "dataset.sig").read_text().splitlines()[0])
    statement = json.loads(base64.b64decode(line["dsseEnvelope"]["payload"]))
    dataset = model_vault.dataset(home, keys=[tmp_path / "curator.pub.pem"])
    return dataset, statement["predicate"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "txt"])
def test_records_have_the_hashes_that_the_command_line_signed(vault, home, tmp_path, form):
    rng = random.Random(form)
    records: list[dict[str, Any]] = [
        {"i": rng.randrange(1 << 64), "f": rng.random(), "t": rng.choice(["", None, 'a,"b"\n', "é"]), "b": i % 2 == 0}
        for i in range(40_000)
    ]
    if form == "csv":
        lines = ["i,f,t,b"]
        for r in records:
            text = "" if r["t"] is None else '"' + r["t"].replace('"', '""') + '"'
            lines.append(f"{r['i']},{r['f']!r},{text},{str(r['b']).lower()}")
        text = "\n".join(lines) + "\n"
    elif form == "jsonl":
        text = "".join(json.dumps({k: v for k, v in r.items() if v is not None}) + "\n" for r in records)
    else:
        text = "".join(f"{r['f']}\n" for r in records)
    mark = "\ufeff" if form != "txt" else ""
    (home / f"t.{form}").write_text(mark + text, newline="")
    dataset, predicate = signed_by_vault(vault, home, tmp_path)
    types = {c["name"]: c["type"] for c in predicate["schema"].get("columns", [])} or None
    found = list(dataset)
    assert len(found) == 40_000
    assert records_root(found, types) == predicate["files"][0]["root"]


def test_what_was_seen_is_shared_with_the_command_line(vault, home, tmp_path):
    (home / "t.txt").write_text("one\n")
    signed_by_vault(vault, home, tmp_path)
    first = (home / "dataset.sig").read_text()
    vault("dataset", "sign", home, "--key", tmp_path / "curator.pem")
    vault("dataset", "verify", home, "--key", tmp_path / "curator.pub.pem")
    (home / "dataset.sig").write_text(first)
    refused("VersionRollback", lambda: model_vault.dataset(home, keys=[tmp_path / "curator.pub.pem"]))


def test_what_this_reader_saw_the_command_line_holds_too(vault, home, tmp_path):
    (home / "t.txt").write_text("one\n")
    signed_by_vault(vault, home, tmp_path)
    first = (home / "dataset.sig").read_text()
    vault("dataset", "sign", home, "--key", tmp_path / "curator.pem")
    model_vault.dataset(home, keys=[tmp_path / "curator.pub.pem"])
    (home / "dataset.sig").write_text(first)
    command = [binary(), "dataset", "verify", home, "--key", tmp_path / "curator.pub.pem"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "version 2 was seen here before" in done.stderr) == (3, True)


def test_the_command_line_signs_and_checks_a_receipt(vault, home, tmp_path):
    for name in ("a", "b"):
        (home / f"{name}.csv").write_text("n,t\n" + "".join(f"{i},{name * 60}\n" for i in range(40_000)))
    dataset, _ = signed_by_vault(vault, home, tmp_path)
    vault("key", "new", "job", "-o", tmp_path / "job.pem")
    for epoch in range(2):
        assert sum(1 for _ in dataset.records(epoch=epoch, shuffle_seed=7)) == 80_000
    model, receipt = tmp_path / "model.bin", tmp_path / "receipt.json"
    model.write_bytes(b"weights")
    dataset.write_receipt(receipt)
    signed = tmp_path / "receipt.signed"
    vault("dataset", "receipt", "sign", receipt, "--model", model, "--key", tmp_path / "job.pem", "-o", signed)
    about = ["--dataset", home, "--key", tmp_path / "curator.pub.pem", "--model", model]
    told = vault("--json", "dataset", "receipt", "verify", signed, "--job-key", tmp_path / "job.pub.pem", *about)
    assert json.loads(told.stdout)["whole"] is True and json.loads(told.stdout)["records"] == 160_000
    text = receipt.read_text().replace('[0,"a.csv",', '[1,"a.csv",', 1)
    receipt.write_text(text)
    signed.unlink()
    vault("dataset", "receipt", "sign", receipt, "--model", model, "--key", tmp_path / "job.pem", "-o", signed)
    command = [binary(), "dataset", "receipt", "verify", signed, "--job-key", tmp_path / "job.pub.pem", *about]
    assert subprocess.run(command, capture_output=True).returncode == 3


# Images and samples


def pictures(home: Path) -> dict[str, bytes]:
    """Three hundred images in two directories, and an archive of samples beside them."""
    made = {f"{'ab'[i % 2]}/{i:03}.png": b"\x89PNG %d" % i * (1 + i % 7) for i in range(300)}
    made["a/000/deep.JPG"] = b"\xff\xd8\xff deep"
    for name, data in made.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(data)
    with tarfile.open(home / "more.tar", "w", format=tarfile.USTAR_FORMAT) as out:
        for name, data in (("x/1.cls", b"3"), ("x/1.png", b"one"), ("x/2.cls", b"4"), ("x/2.seg.png", b"two")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return made


def test_images_and_samples_come_with_all_their_bytes(vault, home, tmp_path):
    made = pictures(home)
    dataset, _ = signed_by_vault(vault, home, tmp_path)
    found = list(dataset)
    named = {
        f"{record['__key__']}.{extension}": record[extension]
        for record in found
        for extension in record.keys() - {"__key__"}
    }
    assert {name: data for name, data in named.items() if name in made} == made
    assert [record["__key__"] for record in found[:301]] == sorted(name.partition(".")[0] for name in made)
    assert found[301:] == [
        {"__key__": "x/1", "cls": b"3", "png": b"one"},
        {"__key__": "x/2", "cls": b"4", "seg.png": b"two"},
    ]
    assert len(dataset) == len(found) == 303
    (tmp_path / "m").write_bytes(b"model")
    dataset.write_receipt(tmp_path / "r.json", [tmp_path / "m"])
    keys = ("--key", tmp_path / "curator.pem", "-o", tmp_path / "r.sig")
    vault("dataset", "receipt", "sign", tmp_path / "r.json", "--model", tmp_path / "m", *keys)
    public = ("--job-key", tmp_path / "curator.pub.pem", "--key", tmp_path / "curator.pub.pem")
    vault("dataset", "receipt", "verify", tmp_path / "r.sig", "--dataset", home, *public)
    for wrong in (dataset.to_pandas, dataset.to_arrow, lambda: dataset.open("images")):
        with pytest.raises(VaultError, match="images"):
            wrong()


@pytest.mark.parametrize("fault", ["changed", "added", "removed", "last", "renamed", "link", "hashes", "sample"])
def test_no_image_is_handed_on_that_was_not_signed(vault, home, tmp_path, fault):
    made = pictures(home)
    dataset, _ = signed_by_vault(vault, home, tmp_path)
    # The 151 images of `a` come first.
    place, before = home / "b/101.png", 151 + 50
    if fault == "changed":
        place.write_bytes(place.read_bytes() + b"!")
    elif fault == "added":
        (home / "b/100.png").write_bytes(b"new")
    elif fault in ("removed", "renamed"):
        place.rename(home / ("b/101.gif" if fault == "renamed" else "gone"))
    elif fault == "last":
        (home / "z.png").write_bytes(b"new")
        before = 301
    elif fault == "link":
        place.unlink()
        place.symlink_to(home / "b/103.png")
    elif fault == "hashes":
        tile = home / "dataset.tree/images/tile/0/001.p/45"
        tile.write_bytes(bytes(len(tile.read_bytes())))
        before = 0
    else:
        data = bytearray((home / "more.tar").read_bytes())
        data[-2048] ^= 1
        (home / "more.tar").write_bytes(data)
        before = 301
    handed = []
    with pytest.raises(VaultError) as raised:
        for record in dataset:
            handed.append(record["__key__"])
    assert raised.value.id == "DatasetChanged"
    assert handed == sorted(name.partition(".")[0] for name in made)[:before]
