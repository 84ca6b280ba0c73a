-- Footprints on the sky, one for each version whose header has one (miripool.sky.footprint). Where a position or a part
-- of the sky is, the index of the cells finds few versions, and the edges decide (miripool/index/skyconditions.py).
-- Cells are those of HEALPix, nested, of depth 29. Each edge has ten numbers, one edge after the other: the
-- number of a convex piece of the footprint, the normal of the edge towards the inside, and the two corners, as
-- directions of length 1.

CREATE TABLE footprint (
    serial bigint PRIMARY KEY,
    dark boolean NOT NULL,
    cells int8multirange NOT NULL,
    edges double precision[] NOT NULL,
    x double precision NOT NULL,
    y double precision NOT NULL,
    z double precision NOT NULL,
    centre bigint NOT NULL
);
CREATE INDEX footprint_cells ON footprint USING gist (cells);
CREATE INDEX footprint_centre ON footprint (centre);
COMMENT ON TABLE footprint IS 'part of the sky that a version''s header says it saw; versions without a row have none';
COMMENT ON COLUMN footprint.dark IS 'whether the exposure is a dark or was taken through OPAQUE';
COMMENT ON COLUMN footprint.cells IS 'HEALPix cells that the footprint touches, nested, depth 29';
COMMENT ON COLUMN footprint.edges IS 'ten numbers for each edge: which convex piece, normal, both corners';
COMMENT ON COLUMN footprint.x IS 'direction of its centre, with y and z; x towards RA 0, z towards the north pole';
COMMENT ON COLUMN footprint.centre IS 'HEALPix cell of its centre';

-- Versions saved before have none yet: whoever first asks about the sky makes them, from keywords (miripool/index/footprints.py).
CREATE TABLE footprint_pending (serial bigint PRIMARY KEY);
INSERT INTO footprint_pending SELECT DISTINCT serial FROM keyword WHERE key IN ('S_REGION', 'RA_REF') AND first;
COMMENT ON TABLE footprint_pending IS 'versions saved by an older miripool, whose footprint is yet to be made';
