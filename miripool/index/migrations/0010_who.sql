-- The journal says who did what: with saves, removals and tags. Entries from before say nothing of it.

ALTER TABLE product ADD COLUMN saved_by text COLLATE "C";
COMMENT ON COLUMN product.saved_by IS 'who saved it, user@host; NULL where the journal does not say';
ALTER TABLE product ADD COLUMN removed_by text COLLATE "C";
COMMENT ON COLUMN product.removed_by IS 'who put it into the trash, user@host; NULL where the journal does not say';
ALTER TABLE tag_event ADD COLUMN by text COLLATE "C";
COMMENT ON COLUMN tag_event.by IS 'who moved it, user@host; NULL where the journal does not say';
