"""`adapter`, which puts vault behind the command line of the public conformance suite. The suite itself is not kept here; where a checkout of it is
(MODELVAULT_CONFORMANCE, with the packages it asks for), all of it runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from service import Service

ADAPTER = ROOT / "tests/oms/adapter"


def adapter(*args, env=None) -> bool:
    done = subprocess.run([ADAPTER, *map(str, args)], capture_output=True, text=True, env={**os.environ, **(env or {})})
    assert "Traceback" not in done.stderr and "usage:" not in done.stderr, done.stderr
    return done.returncode == 0


@pytest.fixture
def recipe(tmp_path) -> Path:
    """Certificates as the recipe of the reference implementation makes them: RSA authorities, and a signer on P-384 that is marked as an
    authority and has the name of the one above it; and a self-signed signer."""
    openssl = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=tmp_path)
    ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
    signer = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n"
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]
    for name, subject, above, new, extensions in [
        ("root", "root-ca", None, ["-newkey", "rsa:2048"], ca),
        ("middle", "intermediate-ca", "root", ["-newkey", "rsa:2048"], ca),
        ("leaf", "intermediate-ca", "middle", ec, signer),
        ("other", "root-ca", None, ["-newkey", "rsa:2048"], ca),
        ("own", "self-signed", None, ec, signer),
    ]:
        (tmp_path / f"{name}.ext").write_text(extensions)
        openssl("req", "-new", *new, "-nodes", "-keyout", f"{name}.key", "-subj", f"/CN={subject}", "-out", f"{name}.csr")
        by = ["-CA", f"{above}.pem", "-CAkey", f"{above}.key", "-CAcreateserial"] if above else ["-signkey", f"{name}.key"]
        openssl("x509", "-req", "-in", f"{name}.csr", *by, "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    return tmp_path


def test_keys_ignored_paths_and_tampering(keys, model, tmp_path):
    bundle, cache = tmp_path / "out.sig", model / "cache"
    cache.write_text("1")
    assert adapter("sign-model", "--method", "key", "--model-path", model, "--output-bundle", bundle, "--private-key", keys / "p256.pem",
                   "--ignore-paths", cache)
    verify = ["verify-model", "--method", "key", "--model-path", model, "--bundle", bundle]
    assert adapter(*verify, "--public-key", keys / "p256.pub")
    assert not adapter(*verify, "--public-key", keys / "stranger.pub")
    (model / "added").write_text("x")
    assert not adapter(*verify, "--public-key", keys / "p256.pub")
    assert adapter(*verify, "--public-key", keys / "p256.pub", "--ignore-unsigned-files")
    assert adapter(*verify, "--public-key", keys / "p256.pub", "--ignore-paths", model / "added")
    (model / "a-b").write_text("x")
    assert not adapter(*verify, "--public-key", keys / "p256.pub", "--ignore-unsigned-files")


def test_certificates_of_the_recipe_of_the_reference(recipe, model, tmp_path):
    bundle = tmp_path / "out.sig"
    sign = lambda name, chain: adapter(
        "sign-model", "--method", "certificate", "--model-path", model, "--output-bundle", bundle, "--private-key", recipe / f"{name}.key",
        "--signing-cert", recipe / f"{name}.pem", *(["--cert-chain", recipe / f"{chain}.pem"] if chain else []))
    verify = lambda ca: adapter("verify-model", "--method", "certificate", "--model-path", model, "--bundle", bundle, "--cert-chain", recipe / f"{ca}.pem")
    assert sign("leaf", "middle") and verify("root") and verify("middle") and not verify("other") and not verify("own")
    command = ["-m", "model_signing", "verify", "certificate", model, "--signature", bundle, "--certificate_chain", recipe / "root.pem"]
    assert subprocess.run([sys.executable, *map(str, command)]).returncode == 0
    bundle.unlink()
    assert sign("own", None) and verify("own") and not verify("root")


def test_keyless(keys, model, tmp_path):
    from cryptography import x509
    import base64

    bundle, service = tmp_path / "out.sig", Service()
    assert adapter("sign-model", "--method", "key", "--model-path", model, "--output-bundle", bundle, "--private-key", keys / "p256.pem")
    payload = base64.b64decode(json.loads(bundle.read_text())["dsseEnvelope"]["payload"])
    bundle.write_text(json.dumps(service.bundle(payload, x509.RFC822Name("a@example.com"), "https://issuer.example")))
    root = {"SIGSTORE_TRUSTED_ROOT": str(service.files(tmp_path)[0])}
    verify = ["verify-model", "--method", "sigstore", "--model-path", model, "--bundle", bundle, "--identity-provider", "https://issuer.example"]
    assert adapter(*verify, "--identity", "a@example.com", env=root)
    assert not adapter(*verify, "--identity", "b@example.com", env=root)


if suite := os.environ.get("MODELVAULT_CONFORMANCE"):

    def test_the_public_suite():
        """Signing without a key is what only its own CI can do: those cases skip themselves."""
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "test", "--entrypoint", ADAPTER], cwd=suite, capture_output=True, text=True)
        assert done.returncode == 0 and " failed" not in done.stdout, done.stdout[-4000:]
