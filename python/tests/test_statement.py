"""Only the one reading of an authentic statement is accepted."""

from __future__ import annotations

import base64
import json

import pytest
from lying import Content, envelope, keyid_of, signing_key, spki_of

from model_vault import IntegrityError, UsageError, _json
from model_vault._signers import Signer, load_signers
from model_vault._statement import pre_authentication, verify

CONTENT = Content({'a "quoted".json': b"1", "z/é.onnx": b"22"})
TRUSTED = [Signer.from_spki(spki_of(signing_key(1)))]


def verdict(sealed: bytes) -> str:
    try:
        verify(sealed, TRUSTED)
    except IntegrityError as e:
        return e.id
    return "ok"


def test_the_pre_authentication_encoding_is_that_of_the_specification():
    assert pre_authentication("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_what_was_signed_is_what_is_read():
    statement, signers = verify(CONTENT.envelope(), TRUSTED)
    assert (statement.namespace, statement.name, statement.version, statement.kind) == ("default", "digits", 3, "model")
    assert [(m.path, m.size, m.sha256) for m in statement.members] == [
        ('a "quoted".json', 1, None),
        ("z/é.onnx", 2, None),
    ]
    assert signers == (keyid_of(signing_key(1)),)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("artifact/v1", "scan/v1"),
        ("in-toto.io/Statement/v1", "in-toto.io/Statement/v0.1"),
        ('"version":3', '"version":3,"extra":1'),
        ('"version":3', '"version":3,"version":3'),
        ('"version":3', '"version":3,"v\\u0065rsion":4'),
        ('"version":3', '"version":-3'),
        ('"version":3', '"version":3.0'),
        ('"version":3', '"version":3e0'),
        ('"version":3', '"version":"3"'),
        ('"version":3', '"version":true'),
        ('"version":3', '"version":18446744073709551616'),
        ('"version":3', '"version":03'),
        ('"version":3', '"version":NaN'),
        ('"version":3,', ""),
        ('"size":1', '"size":-0'),
        ('{"size":1}', '{"size":1,"offset":0}'),
        ('{"size":1},', ""),
        ('"kind":"model"', '"kind":"program"'),
        ('"group_log2":16', '"group_log2":60'),
        ('"group_log2":16', '"group_log2":15'),
        ('"file_id":"09', '"file_id":"0g'),
        ('"file_id":"09', '"file_id":"09 '),
        ('"name":"digits"', '"name":"Digits"'),
        ('"namespace":"default"', '"namespace":"../x"'),
        ("2026-11-22T08:00:00.123Z", "2026-11-31T08:00:00.123Z"),
        ("2026-11-22T08:00:00.123Z", "2026-11-22T24:00:00.123Z"),
        ("2026-11-22T08:00:00.123Z", "2026-11-22T08:00:00+00:00"),
        ("z/\\u00e9.onnx", "../x"),
        ("z/\\u00e9.onnx", "/x"),
        ("z/\\u00e9.onnx", "z//x"),
        ("z/\\u00e9.onnx", "z\\\\x"),
        ("z/\\u00e9.onnx", "z\\u0000x"),
        ("z/\\u00e9.onnx", "z\\ud800x"),
        ("z/\\u00e9.onnx", 'a \\"quoted\\".json'),
        ("z/\\u00e9.onnx", "a"),
        ('"blake3":"', '"blake3":"A'),
        ('"blake3":"', '"sha256":"'),
        ('"blake3":"', '"md5":"00","blake3":"'),
        ('"_type"', '"type"'),
        ("]}}", "]}} "),
        ("]}}", "]}}x"),
        ("{", "\ufeff{"),
    ],
)
def test_an_authentic_statement_that_breaks_a_rule_is_refused(old, new):
    payload = CONTENT.payload().decode()
    assert old in payload
    changed = payload.replace(old, new, 1)
    expected = "ok" if new == "]}} " else "ManifestInvalid"
    assert verdict(envelope(changed.encode(), CONTENT.key)) == expected


def test_an_authentic_payload_of_another_type_is_no_statement():
    assert verdict(envelope(CONTENT.payload(), CONTENT.key, payload_type="text/plain")) == "ManifestInvalid"
    assert verdict(envelope(b"\xff", CONTENT.key)) == "ManifestInvalid"
    assert verdict(envelope(b"[" * 100_000, CONTENT.key)) == "ManifestInvalid"


def test_every_flipped_bit_and_every_cut_is_found():
    sealed = CONTENT.envelope()
    # Upper half of each byte and the lowest bit: enough to hit every character class of the JSON.
    for i in range(len(sealed)):
        for bit in (0x01, 0x20, 0x80):
            changed = bytearray(sealed)
            changed[i] ^= bit
            assert verdict(bytes(changed)) != "ok", (i, bit)
        assert verdict(sealed[:i]) == "SignatureInvalid"


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update(extra=1),
        lambda e: e.pop("payloadType"),
        lambda e: e.update(payload=e["payload"].rstrip("=") + "\n"),
        lambda e: e.update(payload=e["payload"] + "===="),
        lambda e: e.update(payload=e["payload"][:8] + "\n" + e["payload"][8:]),
        lambda e: e.update(payload=1),
        lambda e: e.update(signatures=[]),
        lambda e: e.update(signatures={}),
        lambda e: e.update(signatures=e["signatures"] * 17),
        lambda e: e["signatures"][0].update(cert=""),
        lambda e: e["signatures"][0].pop("sig"),
        lambda e: e["signatures"][0].update(sig=e["signatures"][0]["sig"][:-4]),
        lambda e: e["signatures"][0].update(sig=base64.b64encode(bytes(64)).decode()),
        lambda e: e["signatures"][0].update(sig=""),
        # A good signature does not excuse a bad one under the same trusted key.
        lambda e: e["signatures"].append({**e["signatures"][0], "sig": base64.b64encode(bytes(64)).decode()}),
    ],
)
def test_malformed_envelopes_and_forgeries_are_invalid(change):
    document = json.loads(CONTENT.envelope())
    change(document)
    assert verdict(json.dumps(document).encode()) == "SignatureInvalid"


def test_a_key_id_in_other_letters_is_a_stranger():
    document = json.loads(CONTENT.envelope())
    document["signatures"][0]["keyid"] = document["signatures"][0]["keyid"].upper()
    assert verdict(json.dumps(document).encode()) == "SignatureMissing"


def test_base64_has_one_spelling():
    # Two characters of padding leave four bits that mean nothing: they must be zero.
    document = json.loads(CONTENT.envelope())
    sig = document["signatures"][0]["sig"]
    assert sig.endswith("==")
    document["signatures"][0]["sig"] = sig[:-3] + chr(ord(sig[-3]) + 1) + "=="
    assert verdict(json.dumps(document).encode()) == "SignatureInvalid"


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1,"\\u0061":2}',
        '"\\ud800"',
        '"\\ud800\\u0041"',
        '"\\udc00"',
        '{"\\ud800":1}',
        "\ufeff1",
        "01",
        "1.",
        "+1",
        "NaN",
        "-Infinity",
        "1 2",
        "[1,]",
        "{,}",
        '"\x01"',
        '"\\x"',
        '"\\u12g4"',
        "",
        "{",
        "[[[]]]",
        "'a'",
        "-",
        "[" * 200_000,
    ],
)
def test_what_two_readers_could_read_differently_is_refused(text):
    with pytest.raises(ValueError):
        _json.parse(text.encode("utf-8"), 2)


def test_numbers_are_digits_only():
    read = [_json.as_u64(_json.parse(t, 1)) for t in (b"18446744073709551615", b"0")]
    assert read == [(1 << 64) - 1, 0]
    for text in (b"18446744073709551616", b"-0", b"1.0", b"1e3", b'"1"', b"true", b"null", b"9" * 10_000):
        assert _json.as_u64(_json.parse(text, 1)) is None
    assert _json.parse(b'"\\ud83d\\ude00\\u00e9"', 0) == "😀é"
    with pytest.raises(ValueError):
        _json.parse(b"\xff", 1)


# The curve of Ed25519, only to know its points of small order from first principles.
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def order_divides_8(y: int) -> bool:
    """Whether (x, y) for some x is a point P of the curve with 8P = 0."""
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - x2) % P == 0, "not on the curve"
    for _ in range(3):
        t = D * x * x * y * y
        x, y = 2 * x * y * pow(1 + t, -1, P) % P, (y * y + x * x) * pow(1 - t, -1, P) % P
    return (x, y) == (0, 1)


def test_weak_keys_are_refused():
    from model_vault._signers import _SPKI_PREFIX, _WEAK_Y

    assert len({y % P for y in _WEAK_Y}) == 5  # eight points: two with y = 0, four of order eight in two pairs
    for y in _WEAK_Y:
        assert order_divides_8(y % P)
        for sign in (0, 1 << 255):
            with pytest.raises(UsageError):
                load_signers([_SPKI_PREFIX + (y | sign).to_bytes(32, "little")])


def test_signers_are_taken_in_every_usual_form(tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = signing_key(1).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    for source in (public, pem, pem.decode(), tmp_path / "key.pem", str(tmp_path / "key.pem"), spki_of(signing_key(1))):
        assert [s.keyid for s in load_signers([source])] == [keyid_of(signing_key(1))]
        assert [s.keyid for s in load_signers(source)] == [keyid_of(signing_key(1))]
    foreign = ec.generate_private_key(ec.SECP256R1()).public_key()
    for bad in (b"", b"\x30", foreign.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), b"-----BEGIN x"):
        with pytest.raises(UsageError):
            load_signers([bad])
