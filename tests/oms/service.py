"""A Sigstore service of the tests' own: an authority, a log of certificates and a log of signatures, made with `cryptography` alone. Whether
its evidence has the form of the public service is for the reference implementation to say (test_keyless.py)."""

import base64
import datetime
import hashlib
import json
import struct
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

IN_TOTO = b"application/vnd.in-toto+json"
MINUTES = datetime.timedelta(minutes=10)
b64 = lambda data: base64.b64encode(data).decode()
sha256 = lambda data: hashlib.sha256(data).digest()
spki = lambda key: key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
der = lambda certificate: certificate.public_bytes(serialization.Encoding.DER)
sign = lambda key, message: key.sign(message, ec.ECDSA(hashes.SHA256()))
new_key = lambda: ec.generate_private_key(ec.SECP256R1())


def merkle(leaves: list) -> bytes:
    """RFC 6962, 2.1, straight from the definition."""
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0])
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + merkle(leaves[:half]) + merkle(leaves[half:]))


def path(leaves: list, index: int) -> list:
    """RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if index < half:
        return path(leaves[:half], index) + [merkle(leaves[half:])]
    return path(leaves[half:], index - half) + [merkle(leaves[:half])]


class Service:
    """The name and issuer that it certifies can be anything: it asks nobody."""

    def __init__(self):
        self.now = int(time.time()) - 30 * 86400
        self.start = datetime.datetime.fromtimestamp(self.now, datetime.timezone.utc)
        self.root_key, self.authority_key, self.published, self.log = new_key(), new_key(), new_key(), new_key()
        root = self.authority("test root", self.root_key, "test root", self.root_key, 1)
        self.chain = [self.authority("test authority", self.authority_key, "test root", self.root_key, 0), root]
        self.issued_by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])

    def authority(self, name, key, issuer, issuer_key, length) -> bytes:
        named = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = (
            x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(self.start - datetime.timedelta(days=1))
            .not_valid_after(self.start + datetime.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(True, length), True).add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
        )
        return der(builder.sign(issuer_key, hashes.SHA256()))

    def certificate(self, key, name: x509.GeneralName, issuer: str) -> bytes:
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        text = issuer.encode()
        extension = lambda oid, value: x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = (
            x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self.issued_by).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(self.start).not_valid_after(self.start + MINUTES)
            .add_extension(usage, True).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority_key.public_key()), False)
            .add_extension(x509.SubjectAlternativeName([name]), True)
            .add_extension(extension("1.3.6.1.4.1.57264.1.1", text), False)
            .add_extension(extension("1.3.6.1.4.1.57264.1.8", bytes([0x0c, len(text)]) + text), False)
        )
        shown = builder.sign(self.authority_key, hashes.SHA256()).tbs_certificate_bytes
        millis = struct.pack(">Q", self.now * 1000)
        signed = b"\0\0" + millis + b"\0\1" + sha256(spki(self.authority_key)) + len(shown).to_bytes(3, "big") + shown + b"\0\0"
        signature = sign(self.published, signed)
        stamp = b"\0" + sha256(spki(self.published)) + millis + b"\0\0" + b"\4\3" + struct.pack(">H", len(signature)) + signature
        listed = struct.pack(">HH", len(stamp) + 2, len(stamp)) + stamp
        octets = bytes([4, len(listed)]) if len(listed) < 128 else bytes([4, 0x81, len(listed)])
        return der(builder.add_extension(extension("1.3.6.1.4.1.11129.2.4.2", octets + listed), False).sign(self.authority_key, hashes.SHA256()))

    def bundle(self, payload: bytes, name: x509.GeneralName, issuer: str, others: int = 5, index: int = 2) -> dict:
        """A signature of these bytes by a new key, certified and logged among others."""
        key = new_key()
        leaf = self.certificate(key, name, issuer)
        signature = sign(key, b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO, len(payload), payload))
        pem = x509.load_der_x509_certificate(leaf).public_bytes(serialization.Encoding.PEM)
        canonical = lambda value: json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
        body = canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": {"algorithm": "sha256", "value": sha256(b"not kept").hex()},
            "payloadHash": {"algorithm": "sha256", "value": sha256(payload).hex()},
            "signatures": [{"signature": b64(signature), "verifier": b64(pem)}],
        }})
        leaves = [b"other %d" % i for i in range(others)]
        leaves[index] = body
        log = sha256(spki(self.log))
        root = merkle(leaves)
        note = f"log.example - 1\n{others}\n{b64(root)}\n"
        promise = canonical({"body": b64(body), "integratedTime": self.now + 60, "logID": log.hex(), "logIndex": index + 7})
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(leaf)},
                "tlogEntries": [{
                    "logIndex": str(index + 7),
                    "logId": {"keyId": b64(log)},
                    "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                    "integratedTime": str(self.now + 60),
                    "inclusionPromise": {"signedEntryTimestamp": b64(sign(self.log, promise))},
                    "inclusionProof": {
                        "logIndex": str(index), "rootHash": b64(root), "treeSize": str(others),
                        "hashes": [b64(h) for h in path(leaves, index)],
                        "checkpoint": {"envelope": f"{note}\n\u2014 log.example {b64(log[:4] + sign(self.log, note.encode()))}\n"},
                    },
                    "canonicalizedBody": b64(body),
                }],
            },
            "dsseEnvelope": {"payload": b64(payload), "payloadType": IN_TOTO.decode(), "signatures": [{"sig": b64(signature)}]},
        }

    def trusted_root(self) -> dict:
        start = (self.start - datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        log = lambda key, url: {
            "baseUrl": url, "hashAlgorithm": "SHA2_256", "logId": {"keyId": b64(sha256(spki(key)))},
            "publicKey": {"rawBytes": b64(spki(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": {"start": start}},
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log, "https://log.example")],
            "certificateAuthorities": [{
                "subject": {"organization": "test", "commonName": "test authority"}, "uri": "https://authority.example",
                "certChain": {"certificates": [{"rawBytes": b64(c)} for c in self.chain]}, "validFor": {"start": start},
            }],
            "ctlogs": [log(self.published, "https://published.example")],
        }

    def files(self, directory: Path) -> tuple:
        """The trusted root as we take it, and as the reference takes it."""
        ours, theirs = directory / "trusted_root.json", directory / "trust_config.json"
        ours.write_text(json.dumps(self.trusted_root()))
        service = lambda url: [{"url": url, "majorApiVersion": 1, "validFor": {"start": "2020-01-01T00:00:00Z"}, "operator": "test"}]
        theirs.write_text(json.dumps({
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.trusted_root(),
            "signing_config": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": service("https://authority.example"), "oidcUrls": service("https://issuer.example"),
                "rekorTlogUrls": service("https://log.example"), "tsaUrls": [],
                "rekorTlogConfig": {"selector": "ANY"}, "tsaConfig": {"selector": "ANY"},
            },
        }))
        return ours, theirs
