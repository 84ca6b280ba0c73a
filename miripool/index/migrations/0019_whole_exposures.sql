-- Views of ramps and groups that take fewer steps for each row. Series are made where the block is read, not joined
-- with its rows: a join makes the series again for each row. Slopes are joined inside of that, where the planner may
-- choose how: for a whole exposure it reads both blocks once, for some pixels it looks them up.
CREATE OR REPLACE VIEW groups AS
SELECT (CAST(e.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | ((p.i - 1) * e.ngroups + p.g) AS group_id,
    (CAST(e.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | p.i AS ramp_id,
    p.g AS group_number,
    p.dn[e.before + p.i][p.g] + 32768 AS raw_value,
    p.pixel_id, e.exp_id, p.i AS intnumber,
    e.detector
FROM raw_exposure e
CROSS JOIN LATERAL (
    SELECT r.*, generate_series(1, e.ngroups) AS g
    FROM (
        SELECT pixel_id, dn, generate_series(1, e.nints) AS i
        FROM raw_block
        WHERE block_id BETWEEN e.block_id AND e.block_id
    ) r
) p;

-- The arrays are the whole block's; `before` and the like are the integrations in them that stand before the exposure's.
CREATE VIEW corrected_integration AS
SELECT c.corrected_exp_id, c.exp_id, c.detector, p.pixel_id, p.i, v.ngroups,
    (v.slot - 1) * v.nints AS before, p.sci, p.err,
    (nullif(coalesce(p.groupdq_of[v.slot], 1), 0) - 1) * v.nints AS groupdq_before, p.groupdq, v.common_groupdq,
    p.pixeldq[coalesce(p.pixeldq_of[v.slot], 1)] AS pixeldq,
    (w.slot - 1) * w.nints AS rate_before, w.nints AS rate_nints, p.rate
FROM corrected_exposure c
JOIN version_pixels v ON v.serial = c.ramp
LEFT JOIN version_pixels w ON w.serial = c.rateints
CROSS JOIN LATERAL (
    SELECT r.*, q.rate, generate_series(1, v.nints) AS i
    FROM ramp_block r
    LEFT JOIN rateints_block q ON q.block_id BETWEEN w.block_id AND w.block_id AND q.pixel_id = r.pixel_id
    WHERE r.block_id BETWEEN v.block_id AND v.block_id
) p
UNION ALL
SELECT c.corrected_exp_id, c.exp_id, c.detector, p.pixel_id, p.i, 0,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    (w.slot - 1) * w.nints, w.nints, p.rate
FROM corrected_exposure c
LEFT JOIN pixel_use u ON u.serial = c.ramp
JOIN version_pixels w ON w.serial = c.rateints
CROSS JOIN LATERAL (
    SELECT pixel_id, rate, generate_series(1, w.nints) AS i
    FROM rateints_block
    WHERE block_id BETWEEN w.block_id AND w.block_id
) p
WHERE u.set_id IS NULL;

CREATE OR REPLACE VIEW correctedramps AS
SELECT (p.corrected_exp_id << 43) | (CAST(p.pixel_id AS bigint) << 22) | p.i AS corr_ramp_id,
    (CAST(p.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | p.i AS ramp_id,
    p.corrected_exp_id,
    p.rate[CASE WHEN p.i <= p.rate_nints THEN p.rate_before + p.i END] AS slope_value,
    CASE WHEN p.sci IS NOT NULL THEN ARRAY(SELECT p.sci[p.before + p.i][generate_series(1, p.ngroups)]) END
        AS corrected_ramp,
    CASE WHEN p.common_groupdq IS NOT NULL THEN ARRAY(
        SELECT CAST(coalesce(p.groupdq[p.groupdq_before + p.i][g], p.common_groupdq[p.i][g]) AS integer)
        FROM generate_series(1, p.ngroups) g
    ) END AS dq_ramp,
    CASE WHEN p.err IS NOT NULL THEN ARRAY(SELECT p.err[p.before + p.i][generate_series(1, p.ngroups)]) END AS err_ramp,
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
    p.pixel_id, p.exp_id, p.i AS intnumber, p.pixeldq, p.detector
FROM corrected_integration p
LEFT JOIN LATERAL (
    SELECT CAST(bit_or(coalesce(p.groupdq[p.groupdq_before + p.i][g], p.common_groupdq[p.i][g])) AS bigint) AS flags
    FROM generate_series(1, p.ngroups) g
) f ON true;

CREATE OR REPLACE VIEW correctedgroups AS
SELECT (c.corrected_exp_id << 43) | (CAST(p.pixel_id AS bigint) << 22) | ((p.i - 1) * v.ngroups + p.g) AS corr_group_id,
    (CAST(c.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | ((p.i - 1) * v.ngroups + p.g) AS group_id,
    (c.corrected_exp_id << 43) | (CAST(p.pixel_id AS bigint) << 22) | p.i AS corr_ramp_id,
    p.g AS group_number,
    p.sci[(v.slot - 1) * v.nints + p.i][p.g] AS corrected_value,
    CAST(d.flags AS integer) AS dq_value,
    p.err[(v.slot - 1) * v.nints + p.i][p.g] AS error_value,
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
    p.pixel_id, c.exp_id, p.i AS intnumber, c.corrected_exp_id, c.detector
FROM corrected_exposure c
JOIN version_pixels v ON v.serial = c.ramp
CROSS JOIN LATERAL (
    SELECT r.*, generate_series(1, v.ngroups) AS g
    FROM (
        SELECT pixel_id, sci, err, groupdq, groupdq_of, generate_series(1, v.nints) AS i
        FROM ramp_block
        WHERE block_id BETWEEN v.block_id AND v.block_id
    ) r
) p
CROSS JOIN LATERAL (
    SELECT CAST(coalesce(
        p.groupdq[(nullif(coalesce(p.groupdq_of[v.slot], 1), 0) - 1) * v.nints + p.i][p.g],
        v.common_groupdq[p.i][p.g]
    ) AS bigint) AS flags
) d;

DROP VIEW corrected_pixel;
