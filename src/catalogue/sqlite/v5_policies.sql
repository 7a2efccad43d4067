-- The vault's signature over each version of its policy.
ALTER TABLE policies ADD COLUMN envelope TEXT;
