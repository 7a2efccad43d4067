
-- Lists of known bad digests and keys. Their bytes lie in parts; the digest in the authenticated row is of all of them.
CREATE TABLE intel (
    source TEXT NOT NULL PRIMARY KEY,
    entries INTEGER NOT NULL,
    passed_over INTEGER NOT NULL,
    digest BLOB NOT NULL,
    created INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE intel_parts (
    source TEXT NOT NULL,
    part INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE (source, part)
) STRICT;
