-- keys.db, schema version 1: wrapped artifact keys, and what must not be found here after one was destroyed.
--
-- `secure_delete` alone does not keep that promise: when SQLite moves rows between the pages of a tree to balance it, a stale
-- copy can stay in the unused part of a page (seen for about one in a thousand random deletions). So the secret bytes lie in
-- slots of one size that are only appended, which never moves a row of such a table, and overwritten in place: the file never
-- holds two copies. A slot is never deleted; a destroyed key leaves a slot of zeros. What the file system or the disk keeps of
-- freed blocks of the write-ahead log is beyond this.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE slots (
    slot INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL CHECK (length(bytes) = 112)  -- salt (32), wrapped key (80)
) STRICT;

CREATE TABLE artifact_keys (
    id BLOB NOT NULL CHECK (length(id) = 16),
    version INTEGER NOT NULL,
    namespace_id BLOB NOT NULL CHECK (length(namespace_id) = 16),
    version_id BLOB NOT NULL CHECK (length(version_id) = 16),
    kek_version INTEGER NOT NULL,
    slot INTEGER NOT NULL UNIQUE REFERENCES slots (slot),
    digest BLOB NOT NULL CHECK (length(digest) = 32),  -- SHA-256 of the slot
    mac BLOB NOT NULL,
    PRIMARY KEY (id, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX artifact_keys_of_version ON artifact_keys (version_id);
CREATE INDEX artifact_keys_by_kek ON artifact_keys (namespace_id, kek_version, id, version);
