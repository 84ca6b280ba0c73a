-- Versions in the trash can be given up for good.

ALTER TABLE product ADD COLUMN purged timestamptz;
COMMENT ON COLUMN product.purged IS 'when it was given up for good: its arrays may be gone';
