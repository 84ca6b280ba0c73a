-- The journal says who did what: with saves, removals and tags. Older entries do not.

ALTER TABLE product ADD COLUMN saved_by text COLLATE "C";
COMMENT ON COLUMN product.saved_by IS 'user@host who saved the version; NULL if the journal does not say';
ALTER TABLE product ADD COLUMN removed_by text COLLATE "C";
COMMENT ON COLUMN product.removed_by IS 'user@host who put the version into the trash; NULL if the journal does not say';
ALTER TABLE tag_event ADD COLUMN by text COLLATE "C";
COMMENT ON COLUMN tag_event.by IS 'user@host who moved the tag; NULL if the journal does not say';
