"""Signatures across implementations (docs/signing.md, "Compatibility"): ours under the reference, the reference's under ours."""

import base64
import json
import os
from pathlib import Path

import jsonschema
import pytest
import referencing

from conftest import CURVES

HERE = Path(__file__).resolve().parent


# Ours, verified by the reference.


@pytest.mark.parametrize("curve", CURVES)
def test_the_reference_accepts_what_we_sign(vault, reference, keys, model, curve):
    vault("sign", model, "--key", keys / f"{curve}.pem")
    reference.accepts(model, model / "model.sig", keys / f"{curve}.pub")
    vault("verify", model, "--key", keys / f"{curve}.pub")


def test_the_reference_accepts_an_identity_that_we_made(vault, reference, model, tmp_path):
    made = vault("key", "new", "ci", "--pq", "-o", tmp_path / "ci.pem")
    signed = vault("sign", model, "--key", tmp_path / "ci.pem")
    assert {key["algorithm"] for key in signed["signers"]} == {"ecdsa-p256", "ed25519", "ml-dsa-65"}
    # The reference knows one key a file, and of its kind.
    ecdsa = tmp_path / "ecdsa.pub"
    ecdsa.write_text(next(key["pem"] for key in made["keys"] if key["algorithm"] == "ecdsa-p256"))
    reference.accepts(model, model / "model.sig", ecdsa)
    vault("verify", model, "--key", tmp_path / "ci.pub.pem", "--require", "ecdsa-p256,ed25519,ml-dsa-65")


def test_the_reference_accepts_a_directory_whose_claims_grow(vault, reference, keys, model):
    vault("sign", model, "--key", keys / "p256.pem", "--key", keys / "ed25519.pem")
    with open(model / "claims.jsonl", "a") as claims:
        claims.write("\n")
    reference.accepts(model, model / "model.sig", keys / "p256.pub")


def test_ignored_paths_and_signatures_elsewhere_are_accepted(vault, reference, keys, model, tmp_path):
    (model / "cache").mkdir()
    (model / "cache/later").write_text("1")
    signature = tmp_path / "elsewhere.sig"
    vault("sign", model, "--key", keys / "p256.pem", "--signature", signature, "--ignore", "cache")
    (model / "cache/later").write_text("2")
    reference.accepts(model, signature, keys / "p256.pub")
    vault("verify", model, "--signature", signature, "--key", keys / "p256.pub")


def test_what_a_verifier_ignores_may_be_there_unsigned_and_nothing_signed_may(vault, keys, model):
    vault("sign", model, "--key", keys / "p256.pem")
    (model / "later").mkdir()
    (model / "later/cache").write_text("x")
    vault.refuses("verify", model, "--key", keys / "p256.pub")
    report = vault("verify", model, "--key", keys / "p256.pub", "--ignore", "later")
    assert report["not_covered"] == [".git", "later"]
    report = vault.refuses("verify", model, "--key", keys / "p256.pub", "--ignore", "later", "--ignore", "a-b")
    assert [(d["difference"], d["path"]) for d in report["differences"]] == [("missing", "a-b")]


def test_a_single_file_is_named_as_specified_or_as_the_reference_wants_it(vault, reference, keys, tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    signature = tmp_path / "model.onnx.sig"
    vault("sign", file, "--key", keys / "p256.pem")
    assert statement(signature)["predicate"]["resources"][0]["name"] == "model.onnx"
    reference.refuses(file, signature, keys / "p256.pub")
    vault("sign", file, "--key", keys / "p256.pem", "--compat-1.1")
    reference.accepts(file, signature, keys / "p256.pub")
    vault("verify", file, "--key", keys / "p256.pub")


def test_the_library_of_the_reference_accepts_blake3(vault, keys, model):
    from model_signing import hashing, verifying

    vault("sign", model, "--key", keys / "p256.pem", "--hash", "blake3")
    vault("verify", model, "--key", keys / "p256.pub")
    config = verifying.Config()
    config.set_hashing_config(hashing.Config().use_file_serialization(hashing_algorithm="blake3").set_ignored_paths(
        paths=[model / "model.sig", model / "claims.jsonl"]))
    config.use_elliptic_key_verifier(public_key=keys / "p256.pub").verify(model, model / "model.sig")


def schemas(published=os.environ.get("MODELVAULT_OMS_SCHEMAS")):
    """A validator for each part: by our own words for the specification, and by its published schemas where they are at hand."""
    own = json.loads((HERE / "oms-v1.schema.json").read_text())
    for name in ["bundle", "envelope", "statement"]:
        yield name, jsonschema.Draft202012Validator({"$defs": own["$defs"], "$ref": f"#/$defs/{name}"})
    if published:
        theirs = {p.name.split(".")[0]: json.loads(p.read_text()) for p in Path(published).glob("*.json")}
        resources = [(schema["$id"], referencing.Resource.from_contents(schema)) for schema in theirs.values()]
        registry = referencing.Registry().with_resources(resources)
        for name in ["bundle", "envelope", "statement"]:
            yield name, jsonschema.Draft202012Validator(theirs[name], registry=registry)


def test_what_we_write_keeps_the_schemas(vault, keys, model):
    for options in [[], ["--hash", "blake3"], ["--method", "shards"], ["--shard-size", "5"]]:
        vault("sign", model, "--key", keys / "p256.pem", "--key", keys / "ed25519.pem", *options)
        lines = [(model / "model.sig").read_text(), *(model / "claims.jsonl").read_text().splitlines()]
        for bundle in map(json.loads, lines):
            statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
            parts = {"bundle": bundle, "envelope": bundle["dsseEnvelope"], "statement": statement}
            for name, validator in schemas():
                validator.validate(parts[name])


def test_the_schemas_refuse_what_the_specification_does(vault, keys, model):
    vault("sign", model, "--key", keys / "p256.pem")
    bundle = json.loads((model / "model.sig").read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    own = dict(schemas(published=None))
    refused = lambda part, value: not own[part].is_valid(value)
    assert refused("bundle", {**bundle, "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.3"})
    assert refused("bundle", {**bundle, "more": 1})
    assert refused("statement", {**statement, "subject": statement["subject"] * 2})
    assert refused("statement", {**statement, "predicate": {**statement["predicate"], "more": 1}})


def test_two_runs_sign_the_same_bytes(vault, keys, model):
    payloads = []
    for _ in range(2):
        vault("sign", model, "--key", keys / "p256.pem", "--key", keys / "ed25519.pem")
        payloads.append(json.loads((model / "model.sig").read_text())["dsseEnvelope"]["payload"])
        payloads.append(json.loads((model / "claims.jsonl").read_text())["dsseEnvelope"]["payload"])
    assert len(set(payloads)) == 1


# The reference's, verified by us.


@pytest.mark.parametrize("signature", sorted(p.name for p in (HERE / "releases").glob("*.sig")))
def test_signatures_of_earlier_releases_are_accepted(vault, signature, tmp_path):
    releases = HERE / "releases"
    key = releases / f"{signature.removesuffix('.sig').split('-')[1]}.pub"
    report = vault("verify", releases / "model", "--signature", releases / signature, "--key", key)
    assert report["files"] == 4


def test_signatures_of_the_command_line_are_accepted(vault, reference, keys, model):
    reference.sign(model, model / "model.sig", keys / "p384.pem")
    vault("verify", model, "--key", keys / "p384.pub")
    single = model.parent / "one.bin"
    single.write_bytes(b"one")
    reference.sign(single, model.parent / "one.bin.sig", keys / "p256.pem")
    vault("verify", single, "--key", keys / "p256.pub")


@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_bundles_in_the_form_of_the_go_implementation_are_accepted(vault, reference, keys, model, curve):
    """The reference's, written again as protojson of Go does: members in the order of their fields, spaces here and there, and without
    what is empty there (`tlogEntries`, `keyid`)."""
    reference.sign(model, model / "model.sig", keys / f"{curve}.pem")
    bundle = json.loads((model / "model.sig").read_text())
    bundle["verificationMaterial"].pop("tlogEntries")
    for signature in bundle["dsseEnvelope"]["signatures"]:
        signature.pop("keyid", None)
    members = ["mediaType", "verificationMaterial", "dsseEnvelope"]
    (model / "model.sig").write_text(json.dumps({member: bundle[member] for member in members}, separators=(", ", ":")))
    reference.accepts(model, model / "model.sig", keys / f"{curve}.pub")
    vault("verify", model, "--key", keys / f"{curve}.pub")
    vault.refuses("verify", model, "--key", keys / "stranger.pub")


@pytest.mark.parametrize("algorithm", ["sha256", "blake2", "blake3"])
def test_every_hash_of_the_library_is_accepted(vault, reference, keys, model, algorithm):
    configure = lambda hashing: hashing.use_file_serialization(hashing_algorithm=algorithm)
    reference.sign(model, model / "model.sig", keys / "p256.pem", configure)
    vault("verify", model, "--key", keys / "p256.pub")
    (model / "a-b").write_text("other")
    vault.refuses("verify", model, "--key", keys / "p256.pub")


@pytest.mark.parametrize("algorithm", ["sha256", "blake2"])
def test_shards_of_the_library_are_accepted_in_its_spelling(vault, reference, keys, model, algorithm):
    (model / "co:lon").unlink()  # which it cannot sign in shards
    configure = lambda hashing: hashing.use_shard_serialization(hashing_algorithm=algorithm, shard_size=7)
    reference.sign(model, model / "model.sig", keys / "p256.pem", configure)
    assert "-sharded-7" in (json.dumps(statement(model / "model.sig")))
    report = vault("verify", model, "--key", keys / "p256.pub")
    assert report["uncovered_empty"] == 1
    with open(model / "a-b", "ab") as file:
        file.write(b"tail")
    report = vault.refuses("verify", model, "--key", keys / "p256.pub")
    assert [d["path"] for d in report["differences"]] == ["a-b"]


def test_links_to_files_verify_without_asking_and_links_to_directories_never(vault, reference, keys, model, tmp_path):
    blob = tmp_path / "blob"
    blob.write_text("linked")
    (model / "link").symlink_to(blob)
    assert vault("sign", model, "--key", keys / "p256.pem", ok=False)["error"]["id"] == "InvalidArgument"
    reference.sign(model, model / "model.sig", keys / "p256.pem", lambda h: h.set_allow_symlinks(True))
    vault("verify", model, "--key", keys / "p256.pub")
    vault("sign", model, "--key", keys / "p256.pem", "--allow-symlinks")
    reference.accepts(model, model / "model.sig", keys / "p256.pub", "--allow_symlinks")
    (model / "folder").symlink_to(tmp_path)
    assert vault("sign", model, "--key", keys / "p256.pem", "--allow-symlinks", ok=False)["error"]["id"] == "InvalidArgument"


# What both refuse.

TAMPERINGS = {
    "changed byte": (lambda m: (m / "a-b").write_bytes(b"Content of a-b"), [("changed", "a-b")]),
    "truncated": (lambda m: os.truncate(m / "a-b", 3), [("changed", "a-b")]),
    "extended": (lambda m: (m / "a-b").write_bytes((m / "a-b").read_bytes() + b"!"), [("changed", "a-b")]),
    "added": (lambda m: (m / "new").write_text("x"), [("extra", "new")]),
    "added, deep and hidden": (lambda m: (m / "deep/er/.new").write_text("x"), [("extra", "deep/er/.new")]),
    "removed": (lambda m: (m / "a/x").unlink(), [("missing", "a/x")]),
    "removed, empty": (lambda m: (m / "empty").unlink(), [("missing", "empty")]),
    "renamed": (lambda m: (m / "a.txt").rename(m / "b.txt"), [("renamed", "b.txt")]),
    "other case": (lambda m: (m / "a.txt").rename(m / "A.txt"), [("renamed", "A.txt")]),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_tampering_is_refused_and_named(vault, reference, keys, model, kind):
    tamper, expected = TAMPERINGS[kind]
    vault("sign", model, "--key", keys / "p256.pem")
    tamper(model)
    report = vault.refuses("verify", model, "--key", keys / "p256.pub")
    assert [(d["difference"], d["path"]) for d in report["differences"]] == expected
    reference.refuses(model, model / "model.sig", keys / "p256.pub")


def test_swapped_contents_and_a_file_turned_link_are_refused(vault, keys, model):
    vault("sign", model, "--key", keys / "p256.pem")
    a, b = (model / "a-b").read_bytes(), (model / "a.txt").read_bytes()
    (model / "a-b").write_bytes(b)
    (model / "a.txt").write_bytes(a)
    report = vault.refuses("verify", model, "--key", keys / "p256.pub")
    assert {d["path"] for d in report["differences"]} == {"a-b", "a.txt"}
    (model / "a-b").write_bytes(a)
    (model / "a.txt").unlink()
    (model / "a.txt").symlink_to("a-b")
    assert vault.refuses("verify", model, "--key", keys / "p256.pub")["error"]["id"] == "ModelChanged"


def test_strangers_damage_and_stripping_are_refused(vault, keys, model):
    vault("sign", model, "--key", keys / "p256.pem", "--key", keys / "ed25519.pem")
    refused = lambda *args: vault.refuses("verify", model, *args)["error"]["id"]
    assert refused("--key", keys / "stranger.pub") == "SignatureMissing"
    (model / "claims.jsonl").unlink()
    assert refused("--key", keys / "p256.pub", "--key", keys / "ed25519.pub", "--require", "ed25519") == "SignatureMissing"
    whole = (model / "model.sig").read_text()
    for cut in (0, 1, len(whole) // 2, len(whole) - 4):
        (model / "model.sig").write_text(whole[:cut])
        assert refused("--key", keys / "p256.pub") == "BundleMalformed"
    bundle = json.loads(whole)
    signature = bytearray(base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"]))
    signature[-1] ^= 1
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    (model / "model.sig").write_text(json.dumps(bundle))
    assert refused("--key", keys / "p256.pub") == "SignatureInvalid"


# Where we are stricter: what the reference accepts, signed by a trusted key all the same.

HOSTILE = {
    "duplicate names": lambda s: s["predicate"]["resources"].append(dict(s["predicate"]["resources"][0])),
    "./ before a name": lambda s: s["predicate"]["resources"][0].update(name="./a-b"),
    "// within a name": lambda s: s["predicate"]["resources"][0].update(name="a//x"),
    "/./ within a name": lambda s: s["predicate"]["resources"][0].update(name="a/./x"),
    "../ before a name": lambda s: s["predicate"]["resources"][0].update(name="../model/a-b"),
    "ignoring everything": lambda s: (s["predicate"]["serialization"].update(ignore_paths=["."]), s["predicate"]["resources"].clear()),
    "an empty model": lambda s: s["predicate"]["resources"].clear(),
    "an unknown hash": lambda s: s["predicate"]["serialization"].update(hash_type="md5"),
    "no rule for links": lambda s: s["predicate"]["serialization"].pop("allow_symlinks"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_statements_of_trusted_keys_are_refused(vault, keys, model, kind):
    vault("sign", model, "--key", keys / "p256.pem")
    changed = statement(model / "model.sig")
    for resource in changed["predicate"]["resources"]:
        resource.pop("annotations", None)
    changed["subject"][0].pop("annotations", None)
    HOSTILE[kind](changed)
    resign(model / "model.sig", changed, keys / "p256.pem")
    assert vault.refuses("verify", model, "--key", keys / "p256.pub")["error"]["id"] == "BundleMalformed"


def test_two_signatures_in_one_envelope_and_duplicate_keys_are_refused(vault, keys, model):
    vault("sign", model, "--key", keys / "p256.pem")
    text = (model / "model.sig").read_text()
    bundle = json.loads(text)
    bundle["dsseEnvelope"]["signatures"] *= 2
    for hostile in (json.dumps(bundle), text.replace('"payloadType"', '"payloadType":"","payloadType"')):
        (model / "model.sig").write_text(hostile)
        assert vault.refuses("verify", model, "--key", keys / "p256.pub")["error"]["id"] == "BundleMalformed"


def statement(signature: Path) -> dict:
    return json.loads(base64.b64decode(json.loads(signature.read_text())["dsseEnvelope"]["payload"]))


def resign(signature: Path, statement: dict, key: Path) -> None:
    """Signs any statement, with its root made right."""
    import hashlib

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    digests = b"".join(bytes.fromhex(r["digest"]) for r in statement["predicate"]["resources"])
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(digests).hexdigest()
    payload = json.dumps(statement).encode()
    kind = b"application/vnd.in-toto+json"
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    bundle = json.loads(signature.read_text())
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    made = base64.b64encode(private.sign(message, ec.ECDSA(hashes.SHA256()))).decode()
    bundle["dsseEnvelope"]["signatures"] = [{"sig": made, "keyid": ""}]
    signature.write_text(json.dumps(bundle))
