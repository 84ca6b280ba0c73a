-- Versions in the trash can be purged.

ALTER TABLE product ADD COLUMN purged timestamptz;
COMMENT ON COLUMN product.purged IS 'when the version was purged: its arrays may be gone; NULL if it was not';
