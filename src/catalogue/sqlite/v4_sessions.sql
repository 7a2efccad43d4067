-- Sessions of callers who came with a token, tokens that were used, and who is refused.
CREATE TABLE sessions (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    serial BLOB NOT NULL UNIQUE,
    spki BLOB NOT NULL CHECK (length(spki) = 32),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,  -- empty: an operator
    groups TEXT NOT NULL,  -- names, a space between two
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_expiry ON sessions (expires);

-- Each is taken once. Kept for longer than it is good for, so that a clock that is set back brings none of them to life.
CREATE TABLE used_tokens (
    issuer TEXT NOT NULL,
    token BLOB NOT NULL CHECK (length(token) = 32),
    expires INTEGER NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (issuer, token)
) STRICT, WITHOUT ROWID;

CREATE INDEX used_tokens_by_expiry ON used_tokens (expires);

-- Subjects that are refused whatever they come with, until they are readmitted.
CREATE TABLE refused_subjects (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    refused_by TEXT NOT NULL,
    refused INTEGER NOT NULL,
    readmitted INTEGER,
    mac BLOB NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
