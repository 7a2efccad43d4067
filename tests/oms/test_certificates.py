"""Signers by certificate: what the reference accepts of ours, and what we refuse although it accepts."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


class Authority:
    """A root, an intermediate below it, and the signers it certifies, as files."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.root, self.root_key = self.certificate("root", None, None, ca=True)
        self.middle, self.middle_key = self.certificate("middle", self.root, self.root_key, ca=True)
        self.anchors = self.write("ca.pem", [self.root])

    def certificate(self, name, issuer, issuer_key, ca=False, start=NOW - DAY, end=NOW + DAY,
                    usage=(ExtendedKeyUsageOID.CODE_SIGNING,), san=None):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(start).not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        signer = issuer_key or key
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        return builder.sign(signer, hashes.SHA256()), key

    def write(self, name, certificates) -> Path:
        path = self.directory / name
        path.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates))
        return path

    def signer(self, with_root=False, **facts):
        """Key and chain of a new signer."""
        leaf, key = self.certificate("signer", self.middle, self.middle_key, **facts)
        private = self.directory / "signer.pem"
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                              serialization.NoEncryption()))
        private.chmod(0o600)
        return private, self.write("chain.pem", [leaf, self.middle, *([self.root] if with_root else [])])

    def by_reference(self, model, **facts):
        """Signs with the reference, which looks at neither time nor usage."""
        from model_signing import hashing, signing

        private, _ = self.signer(**facts)
        chain = self.directory / "chain.pem"
        leaf, *above = x509.load_pem_x509_certificates(chain.read_bytes())
        config = object.__new__(signing.Config)
        config._hashing_config = hashing.Config()
        config.use_certificate_signer(
            private_key=private, signing_certificate=self.write("leaf.pem", [leaf]),
            certificate_chain=[self.write("above.pem", above)],
        ).sign(model, model / "model.sig")


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("with_root", [False, True])
def test_the_reference_accepts_our_chains(vault, authority, model, with_root):
    from model_signing import hashing, verifying

    private, chain = authority.signer(with_root)
    vault("sign", model, "--key", private, "--cert-chain", chain)
    config = verifying.Config().set_hashing_config(hashing.Config().set_ignored_paths(
        paths=[model / "model.sig", model / "claims.jsonl"]))
    config.use_certificate_verifier(certificate_chain=[authority.anchors]).verify(model, model / "model.sig")
    assert vault("verify", model, "--ca", authority.anchors)["signers"][0]["by_certificate"]


def test_we_accept_chains_of_the_reference(vault, authority, model):
    authority.by_reference(model)
    vault("verify", model, "--ca", authority.anchors)


REFUSED = {
    "expired": ({"start": NOW - 3 * DAY, "end": NOW - DAY}, "expired"),
    "not yet valid": ({"start": NOW + DAY, "end": NOW + 2 * DAY}, "not_yet_valid"),
    "of a server": ({"usage": [ExtendedKeyUsageOID.SERVER_AUTH]}, "usage"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_reference_accepts_by_mistake_is_refused(vault, authority, model, kind):
    facts, reason = REFUSED[kind]
    authority.by_reference(model, **facts)
    error = vault.refuses("verify", model, "--ca", authority.anchors)["error"]
    assert (error["id"], error["details"]["reason"]) == ("SignatureMissing", reason)


def test_another_authority_and_another_name_are_refused(vault, authority, model, tmp_path):
    private, chain = authority.signer(san=[x509.UniformResourceIdentifier("spiffe://lab/signer")])
    vault("sign", model, "--key", private, "--cert-chain", chain)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    vault.refuses("verify", model, "--ca", other.anchors)
    vault.refuses("verify", model, "--ca", authority.anchors, "--signer-name", "spiffe://lab/somebody-else")
    vault("verify", model, "--ca", authority.anchors, "--signer-name", "spiffe://lab/signer")


def test_nobody_signs_with_a_chain_that_no_verifier_would_take(vault, authority, model, keys):
    private, chain = authority.signer()
    assert vault("sign", model, "--key", keys / "p256.pem", "--cert-chain", chain, ok=False)["error"]["id"] == "BadCredential"
    private, chain = authority.signer(start=NOW - 3 * DAY, end=NOW - DAY)
    assert vault("sign", model, "--key", private, "--cert-chain", chain, ok=False)["error"]["id"] == "BadCredential"
    assert not (model / "model.sig").exists()
