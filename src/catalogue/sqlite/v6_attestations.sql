-- What the signed statement of a dataset says, for decisions.
ALTER TABLE attestations ADD COLUMN dataset TEXT;
