"""Signing with keys on a token (SoftHSM): the reference accepts what is signed there."""

import subprocess
from pathlib import Path

import pytest

from conftest import CURVES

MODULE = next(path for path in map(Path, ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")) if path.exists())


@pytest.fixture
def token(vault, keys, tmp_path):
    """A token with the keys of each curve, and the URI of one."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    vault.env["SOFTHSM2_CONF"] = str(tmp_path / "softhsm2.conf")
    util = lambda *args: subprocess.run(["softhsm2-util", *map(str, args)], check=True, capture_output=True, env=vault.env)
    util("--init-token", "--free", "--label", "prod", "--pin", "13572468", "--so-pin", "87654321")
    for number, name in enumerate(CURVES, 1):
        pkcs8 = tmp_path / f"{name}.p8"
        subprocess.run(["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", keys / f"{name}.pem", "-out", pkcs8], check=True)
        util("--import", pkcs8, "--token", "prod", "--label", name, "--id", f"{number:02}", "--pin", "13572468")
    (tmp_path / "pin").write_text("13572468\n")
    return lambda what, token="prod", pin=f"&pin-source=file:{tmp_path}/pin": f"pkcs11:token={token};{what}?module-path={MODULE}{pin}"


@pytest.mark.parametrize("name", CURVES)
def test_the_reference_accepts_what_a_token_signed(vault, reference, keys, model, token, name):
    for uri in (token(f"object={name}"), token(f"id=%{list(CURVES).index(name) + 1:02}")):
        vault("sign", model, "--key", uri, "--key", keys / "ed25519.pem")
        vault("verify", model, "--key", keys / f"{name}.pub", "--require", f"ecdsa-{name}")
        reference.accepts(model, model / "model.sig", keys / f"{name}.pub", "--ignore-paths", model / "claims.jsonl")


def test_certificates_go_with_keys_on_tokens(vault, keys, model, token, tmp_path):
    openssl = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=tmp_path)
    (tmp_path / "ext").write_text("keyUsage=digitalSignature\nextendedKeyUsage=codeSigning\n")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-subj", "/CN=ca", "-out", "ca.pem")
    openssl("req", "-new", "-key", keys / "p256.pem", "-subj", "/CN=signer", "-out", "csr")
    openssl("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "9", "-extfile", "ext", "-out", "leaf.pem")
    vault("sign", model, "--key", token("object=p256"), "--cert-chain", tmp_path / "leaf.pem")
    vault("verify", model, "--ca", tmp_path / "ca.pem")


def test_what_the_token_or_the_uri_lacks_is_told(vault, model, token, tmp_path):
    refused = lambda uri: (vault("sign", model, "--key", uri, ok=False)["error"]["id"], vault.status)
    assert refused(token("object=none")) == ("NotFound", 6)
    assert refused(token("object=p256", token="other")) == ("NotFound", 6)
    assert refused(token("object=p256", pin="")) == ("NoCredential", 4)
    assert refused(token("object=p256", pin="&pin-value=13572468")) == ("InvalidArgument", 2)
    assert refused(token("object=p256").replace(str(MODULE), "/nowhere.so"))[0] == "IoError"
    (tmp_path / "pin").write_text("00000000")
    assert refused(token("object=p256")) == ("BadCredential", 4)
    vault.env["MODELVAULT_PKCS11_PIN"] = "13572468"
    vault("sign", model, "--key", token("object=p256", pin=""))
