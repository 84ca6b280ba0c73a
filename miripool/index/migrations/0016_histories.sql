-- Views of the pixel rows under the names of the MIRI team's pixel database, straight from the blocks: a view of one row
-- for each pixel and exposure would cut an exposure's part out of the arrays again for each group that is asked for.
-- In each of them a series of numbers is made beside the block's rows, so that the planner reads the blocks of the
-- exposures that are asked for and no others: a join that it may turn round reads all. Conditions on pixel_id still
-- reach the index. block_id is compared with a range of one, where an equality would do: the planner then expects a
-- ninth of all blocks' rows, with an equality a two-hundredth, and nests loops.
DROP VIEW correctedramps, correctedgroups, corrected_pixel, corrected_set;

CREATE VIEW version_pixels AS
SELECT u.serial, s.set_id, s.block_id, s.slot, b.nints, b.ngroups, s.common_groupdq
FROM pixel_use u
JOIN pixel_set s ON s.set_id = u.set_id
JOIN pixel_block b ON b.block_id = s.block_id;
COMMENT ON VIEW version_pixels IS 'the pixel rows of each version: which exposure of which block they are';

CREATE OR REPLACE VIEW raw_exposure AS
SELECT e.exp_id, v.set_id, v.nints, v.ngroups, p.detector, v.block_id, (v.slot - 1) * v.nints AS before
FROM exposure e
JOIN product p ON p.name = e.name AND p.kind = 'Raw' AND p.head
JOIN version_pixels v ON v.serial = p.serial;

CREATE OR REPLACE VIEW ramps AS
SELECT (CAST(e.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | p.i AS ramp_id,
    p.pixel_id, e.exp_id, p.i AS intnumber,
    ARRAY(SELECT p.dn[e.before + p.i][generate_series(1, e.ngroups)] + 32768) AS ramp,
    e.detector
FROM raw_exposure e
CROSS JOIN LATERAL (
    SELECT r.pixel_id, r.dn, generate_series(1, e.nints) AS i
    FROM raw_block r
    WHERE r.block_id BETWEEN e.block_id AND e.block_id
) p;

CREATE OR REPLACE VIEW ref_ramps AS
SELECT (CAST(e.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | p.i AS ramp_id,
    p.pixel_id, e.exp_id, p.i AS intnumber,
    CAST((p.pixel_id - 1056769) / 258 + 1 AS smallint) AS y, CAST((p.pixel_id - 1056769) % 258 * 4 + 1 AS smallint) AS x,
    ARRAY(SELECT p.dn[e.before + p.i][generate_series(1, e.ngroups)] + 32768) AS ramp,
    e.detector
FROM raw_exposure e
CROSS JOIN LATERAL (
    SELECT r.pixel_id, r.dn, generate_series(1, e.nints) AS i
    FROM ref_block r
    WHERE r.block_id BETWEEN e.block_id AND e.block_id
) p;

CREATE OR REPLACE VIEW groups AS
SELECT (CAST(e.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | ((p.i - 1) * e.ngroups + g) AS group_id,
    (CAST(e.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | p.i AS ramp_id,
    g AS group_number,
    p.dn[e.before + p.i][g] + 32768 AS raw_value,
    p.pixel_id, e.exp_id, p.i AS intnumber,
    e.detector
FROM raw_exposure e
CROSS JOIN LATERAL (
    SELECT r.pixel_id, r.dn, generate_series(1, e.nints) AS i
    FROM raw_block r
    WHERE r.block_id BETWEEN e.block_id AND e.block_id
) p
CROSS JOIN LATERAL generate_series(1, e.ngroups) g;

-- Slopes are looked up for each pixel, and only where they are asked for. The arrays are the whole block's; `before` and
-- the like are the integrations in them that stand before the exposure's.
CREATE VIEW corrected_pixel AS
SELECT c.corrected_exp_id, c.exp_id, c.detector, p.pixel_id, v.nints, v.ngroups,
    (v.slot - 1) * v.nints AS before, p.sci, p.err,
    (nullif(coalesce(p.groupdq_of[v.slot], 1), 0) - 1) * v.nints AS groupdq_before, p.groupdq, v.common_groupdq,
    p.pixeldq[coalesce(p.pixeldq_of[v.slot], 1)] AS pixeldq,
    (w.slot - 1) * w.nints AS rate_before, w.nints AS rate_nints, p.rate
FROM corrected_exposure c
JOIN version_pixels v ON v.serial = c.ramp
LEFT JOIN version_pixels w ON w.serial = c.rateints
CROSS JOIN LATERAL (
    SELECT r.*, generate_series(1, 1),
        (SELECT q.rate FROM rateints_block q WHERE q.block_id = w.block_id AND q.pixel_id = r.pixel_id) AS rate
    FROM ramp_block r
    WHERE r.block_id BETWEEN v.block_id AND v.block_id
) p
UNION ALL
SELECT c.corrected_exp_id, c.exp_id, c.detector, p.pixel_id, w.nints, 0,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    (w.slot - 1) * w.nints, w.nints, p.rate
FROM corrected_exposure c
LEFT JOIN pixel_use u ON u.serial = c.ramp
JOIN version_pixels w ON w.serial = c.rateints
CROSS JOIN LATERAL (
    SELECT r.pixel_id, r.rate, generate_series(1, 1)
    FROM rateints_block r
    WHERE r.block_id BETWEEN w.block_id AND w.block_id
) p
WHERE u.set_id IS NULL;

CREATE VIEW correctedramps AS
SELECT (p.corrected_exp_id << 43) | (CAST(p.pixel_id AS bigint) << 22) | i AS corr_ramp_id,
    (CAST(p.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | i AS ramp_id,
    p.corrected_exp_id,
    p.rate[CASE WHEN i <= p.rate_nints THEN p.rate_before + i END] AS slope_value,
    CASE WHEN p.sci IS NOT NULL THEN ARRAY(SELECT p.sci[p.before + i][generate_series(1, p.ngroups)]) END AS corrected_ramp,
    CASE WHEN p.common_groupdq IS NOT NULL THEN ARRAY(
        SELECT CAST(coalesce(p.groupdq[p.groupdq_before + i][g], p.common_groupdq[i][g]) AS integer)
        FROM generate_series(1, p.ngroups) g
    ) END AS dq_ramp,
    CASE WHEN p.err IS NOT NULL THEN ARRAY(SELECT p.err[p.before + i][generate_series(1, p.ngroups)]) END AS err_ramp,
    f.flags & 1 <> 0 AS do_not_use,
    f.flags & 2 <> 0 AS saturated,
    f.flags & 4 <> 0 AS jump_det,
    f.flags & 8 <> 0 AS dropout,
    f.flags & 16 <> 0 AS outlier,
    f.flags & 16 <> 0 AS reserved_16,
    f.flags & 32 <> 0 AS persistence,
    f.flags & 32 <> 0 AS reserved_32,
    f.flags & 64 <> 0 AS ad_floor,
    f.flags & 64 <> 0 AS reserved_64,
    f.flags & 128 <> 0 AS chargeloss,
    f.flags & 128 <> 0 AS reserved_128,
    f.flags & 256 <> 0 AS reserved,
    f.flags & 256 <> 0 AS unreliable_error,
    f.flags & 512 <> 0 AS non_science,
    f.flags & 1024 <> 0 AS dead,
    f.flags & 2048 <> 0 AS hot,
    f.flags & 4096 <> 0 AS warm,
    f.flags & 8192 <> 0 AS low_qe,
    f.flags & 16384 <> 0 AS rc,
    f.flags & 32768 <> 0 AS telegraph,
    f.flags & 65536 <> 0 AS nonlinear,
    f.flags & 131072 <> 0 AS bad_ref_pixel,
    f.flags & 262144 <> 0 AS no_flat_field,
    f.flags & 524288 <> 0 AS no_gain_value,
    f.flags & 1048576 <> 0 AS no_lin_corr,
    f.flags & 2097152 <> 0 AS no_sat_check,
    f.flags & 4194304 <> 0 AS unreliable_bias,
    f.flags & 8388608 <> 0 AS unreliable_dark,
    f.flags & 16777216 <> 0 AS unreliable_slope,
    f.flags & 33554432 <> 0 AS unreliable_flat,
    f.flags & 67108864 <> 0 AS open,
    f.flags & 134217728 <> 0 AS adj_open,
    f.flags & 268435456 <> 0 AS flux_estimated,
    f.flags & 268435456 <> 0 AS unreliable_reset,
    f.flags & 536870912 <> 0 AS msa_failed_open,
    f.flags & 1073741824 <> 0 AS other_bad_pixel,
    f.flags & 2147483648 <> 0 AS reference_pixel,
    p.pixel_id, p.exp_id, i AS intnumber, p.pixeldq, p.detector
FROM corrected_pixel p
CROSS JOIN LATERAL generate_series(1, p.nints) i
LEFT JOIN LATERAL (
    SELECT CAST(bit_or(coalesce(p.groupdq[p.groupdq_before + i][g], p.common_groupdq[i][g])) AS bigint) AS flags
    FROM generate_series(1, p.ngroups) g
) f ON true;

CREATE VIEW correctedgroups AS
SELECT (p.corrected_exp_id << 43) | (CAST(p.pixel_id AS bigint) << 22) | ((i - 1) * p.ngroups + g) AS corr_group_id,
    (CAST(p.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | ((i - 1) * p.ngroups + g) AS group_id,
    (p.corrected_exp_id << 43) | (CAST(p.pixel_id AS bigint) << 22) | i AS corr_ramp_id,
    g AS group_number,
    p.sci[p.before + i][g] AS corrected_value,
    CAST(d.flags AS integer) AS dq_value,
    p.err[p.before + i][g] AS error_value,
    d.flags & 1 <> 0 AS do_not_use,
    d.flags & 2 <> 0 AS saturated,
    d.flags & 4 <> 0 AS jump_det,
    d.flags & 8 <> 0 AS dropout,
    d.flags & 16 <> 0 AS outlier,
    d.flags & 16 <> 0 AS reserved_16,
    d.flags & 32 <> 0 AS persistence,
    d.flags & 32 <> 0 AS reserved_32,
    d.flags & 64 <> 0 AS ad_floor,
    d.flags & 64 <> 0 AS reserved_64,
    d.flags & 128 <> 0 AS chargeloss,
    d.flags & 128 <> 0 AS reserved_128,
    d.flags & 256 <> 0 AS reserved,
    d.flags & 256 <> 0 AS unreliable_error,
    d.flags & 512 <> 0 AS non_science,
    d.flags & 1024 <> 0 AS dead,
    d.flags & 2048 <> 0 AS hot,
    d.flags & 4096 <> 0 AS warm,
    d.flags & 8192 <> 0 AS low_qe,
    d.flags & 16384 <> 0 AS rc,
    d.flags & 32768 <> 0 AS telegraph,
    d.flags & 65536 <> 0 AS nonlinear,
    d.flags & 131072 <> 0 AS bad_ref_pixel,
    d.flags & 262144 <> 0 AS no_flat_field,
    d.flags & 524288 <> 0 AS no_gain_value,
    d.flags & 1048576 <> 0 AS no_lin_corr,
    d.flags & 2097152 <> 0 AS no_sat_check,
    d.flags & 4194304 <> 0 AS unreliable_bias,
    d.flags & 8388608 <> 0 AS unreliable_dark,
    d.flags & 16777216 <> 0 AS unreliable_slope,
    d.flags & 33554432 <> 0 AS unreliable_flat,
    d.flags & 67108864 <> 0 AS open,
    d.flags & 134217728 <> 0 AS adj_open,
    d.flags & 268435456 <> 0 AS flux_estimated,
    d.flags & 268435456 <> 0 AS unreliable_reset,
    d.flags & 536870912 <> 0 AS msa_failed_open,
    d.flags & 1073741824 <> 0 AS other_bad_pixel,
    d.flags & 2147483648 <> 0 AS reference_pixel,
    p.pixel_id, p.exp_id, i AS intnumber, p.corrected_exp_id, p.detector
FROM corrected_pixel p
CROSS JOIN LATERAL generate_series(1, p.nints) i
CROSS JOIN LATERAL generate_series(1, p.ngroups) g
CROSS JOIN LATERAL (
    SELECT CAST(coalesce(p.groupdq[p.groupdq_before + i][g], p.common_groupdq[i][g]) AS bigint) AS flags
) d;

COMMENT ON VIEW correctedramps IS
    'corrected_ramp and err_ramp in DN, slope_value in DN/s; a flag is true where any group has it. PostgreSQL treats '
    'NaN as a value greater than all numbers: avg, sum, stddev and max over a NaN are NaN. NULL is left out. '
    'Write avg(slope_value) FILTER (WHERE slope_value <> ''NaN''). See missing_pixel_rows';
COMMENT ON VIEW correctedgroups IS
    'corrected_value and error_value in DN. PostgreSQL treats NaN as a value greater than all '
    'numbers: avg, sum, stddev and max over a NaN are NaN. NULL is left out. '
    'Write avg(corrected_value) FILTER (WHERE corrected_value <> ''NaN''). See missing_pixel_rows';
