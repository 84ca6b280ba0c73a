-- Statistics of versions by integration and amplifier. They stand in products of the kind ExposureStatistics; these rows are
-- made from them, for SQL. A version is found by its name and content, which a copy of it in another pool has as well.

CREATE TABLE exposure_statistic (
    name text COLLATE "C",
    content text,
    integration integer,
    amplifier smallint,
    rules smallint NOT NULL,
    record bigint NOT NULL,
    pixels bigint NOT NULL,
    median double precision NOT NULL,
    sigma double precision NOT NULL,
    percentiles double precision[] NOT NULL,
    cds_noise double precision NOT NULL,
    cosmic_rays double precision NOT NULL,
    flags jsonb NOT NULL,
    residuals double precision[] NOT NULL,
    PRIMARY KEY (name, content, integration, amplifier)
);
CREATE INDEX exposure_statistic_record ON exposure_statistic (record);
COMMENT ON TABLE exposure_statistic IS 'statistics of versions, made from the products of the kind ExposureStatistics; exposure_statistics names the versions';
COMMENT ON COLUMN exposure_statistic.content IS 'of the version: product.content';
COMMENT ON COLUMN exposure_statistic.integration IS 'from 1; 0 for the mean of an exposure';
COMMENT ON COLUMN exposure_statistic.record IS 'serial of the ExposureStatistics that the row is from';

CREATE VIEW exposure_statistics AS
SELECT p.serial, p.kind, p.name, p.version, p.head, p.detector, p.subarray, p.readpatt, p.start_time,
    nullif(e.integration, 0) AS integration, e.amplifier, e.pixels, e.median, e.sigma,
    e.percentiles[1] AS p0, e.percentiles[2] AS p5, e.percentiles[3] AS p16, e.percentiles[4] AS p50,
    e.percentiles[5] AS p84, e.percentiles[6] AS p95, e.percentiles[7] AS p100,
    e.cds_noise, e.cosmic_rays,
    (SELECT k.number FROM keyword k WHERE k.serial = p.serial AND k.key = 'PRIMECRS' AND k.first) AS primecrs,
    (SELECT k.number FROM keyword k WHERE k.serial = p.serial AND k.key = 'EXTNCRS' AND k.first) AS extncrs,
    e.flags, e.residuals
FROM exposure_statistic e
JOIN product p ON p.name = e.name AND p.content = e.content
WHERE p.removed IS NULL;
COMMENT ON VIEW exposure_statistics IS
    'median, sigma and percentiles in DN/s, cds_noise and residuals in DN, cosmic rays for each 1000 pixels and second; '
    'amplifier 5 is the reference output; NaN where there is no value: PostgreSQL treats it as greater than all numbers';
