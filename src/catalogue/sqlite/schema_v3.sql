-- catalogue.db, schema version 3.

-- Signed statements about versions: who said what kind of thing. What exactly lies in a body, under the version's artifact key,
-- or in a member of the version.
CREATE TABLE attestations (
    version_id BLOB NOT NULL REFERENCES versions (id),
    digest BLOB NOT NULL CHECK (length(digest) = 32),  -- of payload and key (manifest::attestation)
    predicate_type TEXT NOT NULL,
    signer TEXT NOT NULL,
    keyid BLOB NOT NULL CHECK (length(keyid) = 32),
    algorithm TEXT NOT NULL,
    path BLOB NOT NULL CHECK (length(path) % 32 = 0),  -- key ids of the certificates, if there are any
    whole INTEGER NOT NULL,
    member TEXT NOT NULL,
    added_by TEXT NOT NULL,
    added INTEGER NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (version_id, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE attestation_bodies (
    version_id BLOB NOT NULL,
    digest BLOB NOT NULL,
    sealed BLOB NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (version_id, digest),
    FOREIGN KEY (version_id, digest) REFERENCES attestations (version_id, digest)
) STRICT;

-- Trusted signers, a document a change, as policies are kept.
CREATE TABLE signers (
    version INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    created INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT;
