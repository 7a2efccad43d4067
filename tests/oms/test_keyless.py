"""Keyless signatures of models, offline: what the reference accepts we accept, what was changed neither does."""

import base64
import json
import subprocess
import sys

import pytest
from cryptography import x509

from service import Service

NAME, ISSUER = "signer@example.com", "https://issuer.example"


@pytest.fixture
def keyless(vault, keys, model, tmp_path):
    """A model with a keyless signature, and the verifiers, each with the options it needs."""

    class Keyless:
        def __init__(self):
            self.model, self.file = model, model / "model.sig"
            vault("sign", model, "--key", keys / "p256.pem")
            payload = base64.b64decode(json.loads(self.file.read_text())["dsseEnvelope"]["payload"])
            self.service = Service()
            self.bundle = self.service.bundle(payload, x509.RFC822Name(NAME), ISSUER)
            self.write(self.bundle)
            self.root, self.config = self.service.files(tmp_path)

        def write(self, bundle) -> None:
            self.file.write_text(json.dumps(bundle))

        def ours(self, name=f"email:{NAME}", issuer=ISSUER) -> list:
            return ["verify", model, "--sigstore-root", self.root, "--signer-name", name, "--issuer", issuer]

        def reference(self, name=NAME, issuer=ISSUER) -> bool:
            command = [sys.executable, "-m", "model_signing", "verify", "sigstore", model, "--signature", self.file,
                       "--identity", name, "--identity_provider", issuer, "--trust_config", self.config]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            self.said = done.stdout + done.stderr
            return done.returncode == 0

    return Keyless()


def test_what_the_reference_accepts_is_accepted_for_the_right_name_and_issuer(vault, keyless):
    assert keyless.reference(), keyless.said
    report = vault(*keyless.ours())
    assert report["signers"][0]["by_certificate"]
    refused = lambda *args, **options: vault.refuses(*keyless.ours(*args, **options))["error"]["id"]
    assert refused(name="email:other@example.com") == "SignatureMissing"
    assert refused(issuer="https://other.example") == "SignatureMissing"
    assert not keyless.reference(name="other@example.com") and not keyless.reference(issuer="https://other.example")
    assert vault("verify", keyless.model, "--sigstore-root", keyless.root, ok=False)["error"]["id"] == "InvalidArgument"
    assert vault("verify", keyless.model, "--sigstore-root", keyless.root, "--signer-name", "email:a@b", ok=False)
    assert vault("verify", keyless.model, "--signer-name", "email:a@b", ok=False)["error"]["id"] == "InvalidArgument"
    (keyless.model / "a-b").write_text("other")
    assert [d["path"] for d in vault.refuses(*keyless.ours())["differences"]] == ["a-b"]


def test_names_of_workflows_are_compared_as_a_whole(vault, keyless):
    payload = base64.b64decode(keyless.bundle["dsseEnvelope"]["payload"])
    workflow = "https://code.example/org/repo/.workflows/sign.yml@refs/heads/main"
    keyless.write(keyless.service.bundle(payload, x509.UniformResourceIdentifier(workflow), ISSUER, others=1, index=0))
    assert keyless.reference(name=workflow), keyless.said
    vault(*keyless.ours(name=f"uri:{workflow}"))
    vault.refuses(*keyless.ours(name=f"uri:{workflow[:-4]}"))


def change(text: str, at: int) -> str:
    """Another byte at a place of base64."""
    data = bytearray(base64.b64decode(text))
    data[at % len(data)] ^= 1
    return base64.b64encode(data).decode()


ENTRY = lambda bundle: bundle["verificationMaterial"]["tlogEntries"][0]
PROOF = lambda bundle: ENTRY(bundle)["inclusionProof"]
EVIDENCE = {
    "certificate": (lambda b: b["verificationMaterial"]["certificate"], "rawBytes"),
    "log": (lambda b: ENTRY(b)["logId"], "keyId"),
    "promise": (lambda b: ENTRY(b)["inclusionPromise"], "signedEntryTimestamp"),
    "body": (ENTRY, "canonicalizedBody"),
    "root": (PROOF, "rootHash"),
    "payload": (lambda b: b["dsseEnvelope"], "payload"),
    "signature": (lambda b: b["dsseEnvelope"]["signatures"][0], "sig"),
}


@pytest.mark.parametrize("evidence", EVIDENCE)
def test_a_changed_byte_of_the_evidence_is_refused(vault, keyless, evidence):
    where, key = EVIDENCE[evidence]
    for at in (0, 7, 100, -1):
        bundle = json.loads(json.dumps(keyless.bundle))
        where(bundle)[key] = change(where(bundle)[key], at)
        keyless.write(bundle)
        vault.refuses(*keyless.ours())
    assert not keyless.reference()


def test_evidence_of_another_time_place_or_signature_is_refused(vault, keyless):
    payload = base64.b64decode(keyless.bundle["dsseEnvelope"]["payload"])
    other = keyless.service.bundle(payload, x509.RFC822Name(NAME), ISSUER)
    stranger = Service().bundle(payload, x509.RFC822Name(NAME), ISSUER)
    changes = {
        "an hour later": lambda b: ENTRY(b).update(integratedTime=str(int(ENTRY(b)["integratedTime"]) + 3600)),
        "another index": lambda b: ENTRY(b).update(logIndex="8"),
        "another place": lambda b: PROOF(b).update(logIndex="1"),
        "another size": lambda b: PROOF(b).update(treeSize="6"),
        "no proof": lambda b: ENTRY(b).pop("inclusionProof"),
        "no promise": lambda b: ENTRY(b).pop("inclusionPromise"),
        "a hash too few": lambda b: PROOF(b)["hashes"].pop(),
        "another kind": lambda b: ENTRY(b)["kindVersion"].update(kind="intoto"),
        "no entry": lambda b: b["verificationMaterial"].update(tlogEntries=[]),
        "two entries": lambda b: b["verificationMaterial"].update(tlogEntries=[ENTRY(b), ENTRY(b)]),
        "the entry of another signature": lambda b: b["verificationMaterial"].update(tlogEntries=other["verificationMaterial"]["tlogEntries"]),
        "the certificate of another": lambda b: b["verificationMaterial"].update(certificate=other["verificationMaterial"]["certificate"]),
        "a stranger's service": lambda b: b.update(stranger),
    }
    vault(*keyless.ours())
    for name, apply in changes.items():
        bundle = json.loads(json.dumps(keyless.bundle))
        apply(bundle)
        keyless.write(bundle)
        assert vault.refuses(*keyless.ours())["error"]["id"] in ("SignatureInvalid", "SignatureMissing", "BundleMalformed"), name
