-- What callers used of their quotas: an account of each, and of each with each artifact. The row without a principal ties the time
-- of the quotas to the running time of the machine.
CREATE TABLE usage (
    principal TEXT NOT NULL,
    artifact BLOB NOT NULL CHECK (length(artifact) IN (0, 16)),  -- empty: all artifacts
    revision INTEGER NOT NULL,
    account BLOB NOT NULL,
    stored INTEGER NOT NULL,  -- in the time of the quotas
    mac BLOB NOT NULL,
    PRIMARY KEY (principal, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_time ON usage (stored);
