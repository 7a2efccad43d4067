-- catalogue.db, schema version 1. Ids are blobs (names.rs), times are milliseconds since 1970 UTC.
-- `mac` authenticates all other columns of its row (rows.rs); the order of the columns here and there is the same.
-- Audit rows and checkpoints carry none: the log's tree and its signatures authenticate them.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE namespaces (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE artifacts (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    namespace_id BLOB NOT NULL REFERENCES namespaces (id),
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    next_number INTEGER NOT NULL CHECK (next_number > 0),
    created INTEGER NOT NULL,
    mac BLOB NOT NULL,
    UNIQUE (namespace_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE reservations (
    version_id BLOB PRIMARY KEY CHECK (length(version_id) = 16),
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    number INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    mac BLOB NOT NULL,
    UNIQUE (artifact_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    namespace_id BLOB NOT NULL REFERENCES namespaces (id),
    number INTEGER NOT NULL CHECK (number > 0),
    kind TEXT NOT NULL,
    file_id BLOB NOT NULL CHECK (length(file_id) = 32),
    commitment BLOB NOT NULL CHECK (length(commitment) = 32),
    root BLOB NOT NULL CHECK (length(root) = 32),
    generation INTEGER NOT NULL,
    header_len INTEGER NOT NULL,
    body_len INTEGER NOT NULL,
    payload_len INTEGER NOT NULL,
    member_count INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    format TEXT NOT NULL,
    signer BLOB NOT NULL CHECK (length(signer) = 32),
    sealed_by TEXT NOT NULL,
    created INTEGER NOT NULL,
    key_id BLOB NOT NULL CHECK (length(key_id) = 16),
    key_version INTEGER NOT NULL,
    request_id BLOB NOT NULL UNIQUE,
    sequence INTEGER NOT NULL,
    unlisted INTEGER,
    shred_begun INTEGER,
    shredded INTEGER,
    mac BLOB NOT NULL,
    UNIQUE (artifact_id, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX versions_by_root ON versions (artifact_id, root);
CREATE INDEX versions_unlisted ON versions (unlisted) WHERE unlisted IS NOT NULL;
CREATE INDEX versions_half_shredded ON versions (id) WHERE shred_begun IS NOT NULL AND shredded IS NULL;

CREATE TABLE tags (
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    tag TEXT NOT NULL,
    version_id BLOB NOT NULL REFERENCES versions (id),
    number INTEGER NOT NULL,
    moves INTEGER NOT NULL,
    moved INTEGER NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (artifact_id, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE policies (
    version INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    created INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT;

CREATE TABLE workloads (
    namespace_id BLOB NOT NULL REFERENCES namespaces (id),
    name TEXT NOT NULL,
    enrolment INTEGER NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER,
    mac BLOB NOT NULL,
    PRIMARY KEY (namespace_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE certificates (
    serial BLOB PRIMARY KEY CHECK (length(serial) BETWEEN 1 AND 20),
    namespace_id BLOB NOT NULL,
    workload TEXT NOT NULL,
    spki BLOB NOT NULL CHECK (length(spki) = 32),
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    enrolment INTEGER NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER,
    mac BLOB NOT NULL,
    FOREIGN KEY (namespace_id, workload) REFERENCES workloads (namespace_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX certificates_by_workload ON certificates (namespace_id, workload, not_after);

CREATE TABLE grants (
    namespace_id BLOB NOT NULL,
    workload TEXT NOT NULL,
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    enrolment INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created INTEGER NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (namespace_id, workload, artifact_id),
    FOREIGN KEY (namespace_id, workload) REFERENCES workloads (namespace_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL
) STRICT;

CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    root BLOB NOT NULL CHECK (length(root) = 32),
    note TEXT NOT NULL,
    frontier BLOB NOT NULL,
    created INTEGER NOT NULL
) STRICT;
