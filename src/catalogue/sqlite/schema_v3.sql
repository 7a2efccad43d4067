-- catalogue.db, schema version 3.

-- Trusted signers, a document a change, as policies are kept.
CREATE TABLE signers (
    version INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    created INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT;
