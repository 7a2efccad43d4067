-- Principals and artifacts on hold, now or once: rows are never deleted.
CREATE TABLE holds (
    number INTEGER NOT NULL PRIMARY KEY,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    placed_by TEXT NOT NULL,
    rule TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER,
    released INTEGER,
    released_by TEXT NOT NULL,
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX holds_live ON holds (target) WHERE released IS NULL;

-- How far the audit log was looked at by the rules.
CREATE TABLE watched (
    id INTEGER NOT NULL PRIMARY KEY,
    rows INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT;
