-- catalogue.db, schema version 4.

-- Settings, a document a change, as policies are kept.
CREATE TABLE documents (
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    text TEXT NOT NULL,
    created INTEGER NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (kind, version)
) STRICT, WITHOUT ROWID;
