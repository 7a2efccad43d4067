
-- The audit log's tree in tiles: made from the rows of `audit`, and made anew whenever it does not fit them.
CREATE TABLE tiles (
    -- level * 2^56 + index
    place INTEGER PRIMARY KEY,
    hashes BLOB NOT NULL
) STRICT;
