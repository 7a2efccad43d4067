-- Labels, collection and classification of artifacts.
ALTER TABLE artifacts ADD COLUMN marks TEXT;
