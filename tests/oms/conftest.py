"""What the tests share: the `vault` binary, keys made by openssl, models with awkward names, and the reference's two doors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VAULT = ROOT / "target/release/vault"
CURVES = {"p256": "prime256v1", "p384": "secp384r1", "p521": "secp521r1"}


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Path:
    """A directory with NAME.pem and NAME.pub for each curve, Ed25519, and a stranger's P-256."""
    directory = tmp_path_factory.mktemp("keys")
    openssl = lambda *args: subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=directory)
    for name, curve in {**CURVES, "stranger": "prime256v1"}.items():
        openssl("ecparam", "-genkey", "-name", curve, "-noout", "-out", f"{name}.pem")
    openssl("genpkey", "-algorithm", "ed25519", "-out", "ed25519.pem")
    for private in directory.glob("*.pem"):
        private.chmod(0o600)
        openssl("pkey", "-in", private.name, "-pubout", "-out", private.with_suffix(".pub").name)
    return directory


@pytest.fixture
def model(tmp_path) -> Path:
    """Several files, nested, with names that other tools trip over."""
    root = tmp_path / "model"
    names = ["a/x", "a-b", "a.txt", "deep/er/weights.bin", ".hidden", "sub/.git/config", "\u00e9", "e\u0301", "co:lon", 'quo"te',
             "back\\slash", "t\tab", "space ", ".gitmodules"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(f"content of {name}".encode())
    (root / "empty").write_bytes(b"")
    (root / ".git").mkdir()
    (root / ".git/HEAD").write_text("ref: refs/heads/main")
    return root


class Vault:
    """The command line, with what it prints."""

    def __init__(self, cache: Path):
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("MODELVAULT_")}
        self.cache = cache
        self.env["XDG_CACHE_HOME"] = str(cache)

    def __call__(self, *args, ok=True):
        done = subprocess.run([VAULT, *map(str, args), "--json"], capture_output=True, text=True, env=self.env)
        assert (done.returncode == 0) == ok, (done.returncode, done.stdout, done.stderr)
        self.status = done.returncode
        return json.loads(done.stdout)

    def refuses(self, *args) -> dict:
        """Runs what must fail with exit status 3, and gives its document."""
        document = self(*args, ok=False)
        assert self.status == 3, document
        return document


@pytest.fixture
def vault(tmp_path_factory) -> Vault:
    return Vault(tmp_path_factory.mktemp("cache"))


class Reference:
    """The command line of the reference implementation, without network."""

    def verify(self, model: Path, signature: Path, key: Path, *options) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "model_signing", "verify", "key", model, "--signature", signature, "--public_key", key, *options]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True)

    def sign(self, model: Path, signature: Path, key: Path, configure=lambda hashing: hashing):
        """Signs through the library, which has more choices than its command line."""
        from model_signing import hashing, signing

        config = object.__new__(signing.Config)  # the constructor asks the network for a trust root
        config._hashing_config = configure(hashing.Config())
        config.use_elliptic_key_signer(private_key=key).sign(model, signature)

    def accepts(self, *args) -> None:
        done = self.verify(*args)
        assert done.returncode == 0, done.stdout + done.stderr

    def refuses(self, *args) -> None:
        done = self.verify(*args)
        assert done.returncode != 0, done.stdout


@pytest.fixture
def reference() -> Reference:
    return Reference()
