-- Sessions know which rules their token was held to. Those that are there end in a quarter of an hour: they are over now.
DROP TABLE sessions;
CREATE TABLE sessions (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    serial BLOB NOT NULL UNIQUE,
    spki BLOB NOT NULL CHECK (length(spki) = 32),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,  -- empty: an operator
    groups TEXT NOT NULL,  -- names, a space between two
    rules BLOB NOT NULL CHECK (length(rules) = 32),  -- digest of what the settings said of the issuer
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_expiry ON sessions (expires);
