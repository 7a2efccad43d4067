-- catalogue.db, schema version 2.

-- Bytes of the members, without the gaps between them. NULL in rows of before; then it is not in their `mac` either (rows.rs).
ALTER TABLE versions ADD COLUMN content_len INTEGER;

-- Listings count and choose without touching the rows themselves.
CREATE INDEX versions_by_state ON versions (artifact_id, number, unlisted, shred_begun);

-- Acts that were carried out, by the id of their request; `asked` is a digest of who asked for what.
CREATE TABLE requests (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    asked BLOB NOT NULL CHECK (length(asked) = 32),
    answer BLOB NOT NULL,
    number INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    created INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_time ON requests (created);
