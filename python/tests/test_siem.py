"""Events of the audit log, against the schema that OCSF has published (PyPI: ocsf-json-schema)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import jsonschema
from daemon import MODEL, Daemon
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

VERSION = "1.8.0"
# Written by tests/siem.rs.
CORPUS = Path(__file__).resolve().parents[2] / "target" / "tmp" / "ocsf.jsonl"


def classes_of(lines: Iterable[str]) -> set[int]:
    """The classes of events, each of which keeps to the schema of its class."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION))
    validators: dict[int, jsonschema.Draft202012Validator] = {}
    for line in lines:
        event = json.loads(line)
        assert event["metadata"]["version"] == VERSION
        uid = event["class_uid"]
        if uid not in validators:
            name = schema.lookup_class_name_from_uid(uid)
            validators[uid] = jsonschema.Draft202012Validator(schema.get_class_schema(name, []))
        problems = [f"{'/'.join(map(str, e.path))}: {e.message}" for e in validators[uid].iter_errors(event)]
        assert not problems, f"{problems}\n{line}"
    return set(validators)


def test_the_event_of_every_act_keeps_to_the_published_schema() -> None:
    assert CORPUS.exists(), "it is written by: cargo test --release --workspace --test siem"
    assert classes_of(CORPUS.read_text().splitlines()) == {0, 2004, 3002, 3003, 3004, 6003}


def test_the_log_of_a_real_vault_keeps_to_it(daemon: Daemon) -> None:
    daemon.vault("seal", MODEL, "--name", "digits", "--tag", "gold")
    daemon.enrol("serve")
    daemon.vault("grant", "serve", "digits")
    daemon.vault("workload", "revoke", "serve")
    daemon.vault("rm", "digits@v1")
    lines = daemon.vault("audit", "export", "--format", "ocsf").splitlines()
    assert {6003, 3004} <= classes_of(lines)
    assert len(lines) > 6
