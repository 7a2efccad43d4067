-- Parts of datasets: the number of the version that names one, 0 while none does.
ALTER TABLE versions ADD COLUMN part_of INTEGER;

CREATE INDEX versions_by_head ON versions (artifact_id, part_of) WHERE part_of IS NOT NULL;
