-- When the integrations of a version began and ended, from its table INT_TIMES. It is read from the file's data: when
-- pixel rows are made, or when someone first asks. A version without a row here was not read yet.

CREATE TABLE timing (
    serial bigint PRIMARY KEY,
    middle double precision,
    ended double precision,
    int_started double precision[],
    int_middle double precision[],
    int_ended double precision[]
);
COMMENT ON TABLE timing IS 'times of a version: MJD in UTC, NaN where the file does not say';
COMMENT ON COLUMN timing.middle IS 'middle of the exposure: EXPMID';
COMMENT ON COLUMN timing.ended IS 'end of the exposure: EXPEND';
COMMENT ON COLUMN timing.int_started IS 'start of each integration, from INT_TIMES; empty if the file has no such table';
COMMENT ON COLUMN timing.int_middle IS 'middle of each integration, as int_started';
COMMENT ON COLUMN timing.int_ended IS 'end of each integration, as int_started';
