-- Second factors, step-up sessions, approvals.

-- A second factor of each person.
CREATE TABLE factors (
    person TEXT PRIMARY KEY,
    enrolment BLOB NOT NULL CHECK (length(enrolment) = 16),
    secret BLOB NOT NULL,  -- sealed under the keyring
    recovery BLOB NOT NULL CHECK (length(recovery) % 32 = 0),  -- keyed digests of the codes that are left
    created INTEGER NOT NULL,
    confirmed INTEGER,  -- NULL: no code was ever shown; it asks nothing of anybody
    last_step INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    failing_since INTEGER NOT NULL,
    locked_until INTEGER,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What a second factor was used for: `holder` is a digest of the token, or of the certificate's serial number.
CREATE TABLE step_ups (
    holder BLOB PRIMARY KEY CHECK (length(holder) = 32),
    person TEXT NOT NULL,
    enrolment BLOB NOT NULL CHECK (length(enrolment) = 16),
    method TEXT NOT NULL,
    at INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX step_ups_by_time ON step_ups (expires);

-- Acts that wait for others; `asked` is a digest of who wants what exactly, `digest` of that with id and end.
CREATE TABLE approvals (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    asked BLOB NOT NULL CHECK (length(asked) = 32),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    action TEXT NOT NULL,
    what TEXT NOT NULL,
    requester TEXT NOT NULL,
    person TEXT NOT NULL,
    needed INTEGER NOT NULL CHECK (needed > 0),
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    refused INTEGER,
    used INTEGER,
    mac BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX approvals_by_request ON approvals (asked, created);
CREATE INDEX approvals_by_time ON approvals (expires);

CREATE TABLE votes (
    approval BLOB NOT NULL REFERENCES approvals (id) ON DELETE CASCADE,
    person TEXT NOT NULL,
    principal TEXT NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),  -- what the person saw: that of the approval
    approves INTEGER NOT NULL,
    at INTEGER NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (approval, person)
) STRICT, WITHOUT ROWID;
