-- Where a header has no S_REGION and no CRPIX1, CRPIX2, the reference point is that of its subarray now, and was the middle
-- of the array: up to 20 arcseconds away. Such footprints are made again when someone asks about the sky.

WITH old AS (
    DELETE FROM footprint f WHERE NOT EXISTS (
        SELECT FROM keyword k WHERE k.serial = f.serial AND k.key = 'S_REGION' AND k.first AND k.text ~* '^\s*POLYGON'
    ) RETURNING serial
)
INSERT INTO footprint_pending SELECT serial FROM old;
