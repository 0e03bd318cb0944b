-- A data key, which seals stored password hashes, for those who can open it without the master key: the names of
-- their recovery keys (`age1…`) with blanks between, and the key in the format of age. NULL if nobody can.
ALTER TABLE keys ADD COLUMN recovery_recipients TEXT;

ALTER TABLE keys ADD COLUMN recovery TEXT;
