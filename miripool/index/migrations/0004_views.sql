-- Views under the names of the MIRI team's pixel database. Keys are bigints: exp_id, or corrected_exp_id, in 20 bits,
-- pixel_id in 21, and in 22 the integration, or the group counted through all integrations.
-- exp_id and pixel_id are the pixel tables' own columns, so that conditions on them choose partitions and indexes.

CREATE VIEW detectors AS
SELECT * FROM (VALUES (493, 'MIRIMAGE', 1032, 1280), (494, 'MIRIFULONG', 1032, 1280), (495, 'MIRIFUSHORT', 1032, 1280))
    AS known (detector_id, name, ncols, nrows);
COMMENT ON VIEW detectors IS 'nrows includes rows 1025 to 1280, which stand for the reference output';

CREATE VIEW pixels AS
SELECT pixel_id, (pixel_id - 1) / 1032 + 1 AS row_id, (pixel_id - 1) % 1032 + 1 AS col_id,
    pixel_id > 1056768 AS ref_pix
FROM generate_series(1, 1320960) AS pixel_id;
COMMENT ON VIEW pixels IS 'pixels of the FULL array row by row, then reference output';

-- What stands for an exposure: the head of its Raw, or of the next best kind.
CREATE VIEW exposure_head AS
SELECT e.exp_id, p.*
FROM exposure e, LATERAL (
    SELECT * FROM product p
    WHERE p.name = e.name AND p.head AND p.kind IN ('Raw', 'Ramp', 'RateInts', 'Rate')
    ORDER BY array_position(ARRAY['Raw', 'Ramp', 'RateInts', 'Rate'], p.kind)
    LIMIT 1
) p;

CREATE VIEW exposures AS
SELECT p.exp_id,
    coalesce(p.filename, p.name) AS exp,
    d.detector_id,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'ORIGIN' AND k.first) AS data_genesis,
    CAST(p.ngroups AS integer) AS ngroups,
    CAST(p.nints AS integer) AS nints,
    p.subarray,
    p.readpatt AS readmode,
    p.start_time AS t0,
    coalesce(
        (SELECT k.time FROM keyword k WHERE k.serial = p.serial AND k.key = 'TIME-END' AND k.first),
        (SELECT k.time FROM keyword k WHERE k.serial = p.serial AND k.key = 'DATE-END' AND k.first),
        to_timestamp(((SELECT k.number FROM keyword k WHERE k.serial = p.serial AND k.key = 'EXPEND' AND k.first) - 40587) * 86400)
    ) AS t1,
    coalesce(
        (SELECT k.number FROM keyword k WHERE k.serial = p.serial AND k.key = 'EXPTIME' AND k.first),
        (SELECT k.number FROM keyword k WHERE k.serial = p.serial AND k.key = 'EFFEXPTM' AND k.first)
    ) AS exptime,
    coalesce(
        (SELECT k.number FROM keyword k WHERE k.serial = p.serial AND k.key = 'INTTIME' AND k.first),
        (SELECT k.number FROM keyword k WHERE k.serial = p.serial AND k.key = 'EFFINTTM' AND k.first)
    ) AS inttime
FROM exposure_head p LEFT JOIN detectors d ON d.name = p.detector;
COMMENT ON VIEW exposures IS
    'one row for each exposure that has products outside the trash; t0 and t1 are UTC, exptime and inttime in s';

CREATE VIEW correctedexposures AS
SELECT c.corrected_exp_id,
    coalesce(p.filename, p.name) AS corrected_exp,
    c.exp_id,
    p.cal_ver AS pipeline_version,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'CRDS_VER' AND k.first) AS crds_version,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'CAL_VCS' AND k.first) AS cal_software_version_control_num,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_DARK' AND k.first) = 'COMPLETE' AS dark_subtraction,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_DQINIT' AND k.first) = 'COMPLETE' AS dqinit,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_FRSTFR' AND k.first) = 'COMPLETE' AS first_frame_correction,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_GRPSCL' AND k.first) = 'COMPLETE' AS grpscl,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_IPC' AND k.first) = 'COMPLETE' AS ipc,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_JUMP' AND k.first) = 'COMPLETE' AS jumpdet,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_LASTFR' AND k.first) = 'COMPLETE' AS last_frame_correction,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_LINEAR' AND k.first) = 'COMPLETE' AS linearity,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_REFPIX' AND k.first) = 'COMPLETE' AS ref_pix_correction,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_RSCD' AND k.first) = 'COMPLETE' AS rscd,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'S_SATURA' AND k.first) = 'COMPLETE' AS saturation_check,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'R_DARK' AND k.first) AS dark_ref_file,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'R_GAIN' AND k.first) AS gain_ref_file,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'R_IPC' AND k.first) AS ipc_ref_file,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'R_LINEAR' AND k.first) AS linear_ref_file,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'R_MASK' AND k.first) AS mask_ref_file,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'R_READNO' AND k.first) AS readnoise_ref_file,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'R_RSCD' AND k.first) AS rscd_ref_file,
    (SELECT k.text FROM keyword k WHERE k.serial = p.serial AND k.key = 'R_SATURA' AND k.first) AS saturation_ref_file,
    p.crds_ctx AS crds_context,
    p.version,
    'urn:' || regexp_replace(s.nspname, '^pool ', '') || ':' || p.kind || ':' || p.serial AS urn
FROM corrected_exposure c
JOIN product p ON p.serial = coalesce(c.ramp, c.rateints)
CROSS JOIN (
    SELECT n.nspname FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE t.oid = CAST('pool_state' AS regclass)
) s;
COMMENT ON VIEW correctedexposures IS
    'one row for each calibration of an exposure outside the trash: its Ramp, its RateInts, or both';

CREATE VIEW raw_exposure AS
SELECT e.exp_id, s.set_id, s.nints, s.ngroups
FROM exposure e
JOIN product p ON p.name = e.name AND p.kind = 'Raw' AND p.head
JOIN pixel_use u ON u.serial = p.serial
JOIN pixel_set s ON s.set_id = u.set_id;
COMMENT ON VIEW raw_exposure IS 'the pixel rows of each exposure''s newest Raw';

-- A range of one set_id, where an equality would do: with two equalities the planner expects one row and nests loops.
CREATE VIEW ramps AS
SELECT (CAST(p.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | i AS ramp_id,
    p.pixel_id, p.exp_id, i AS intnumber,
    ARRAY(SELECT p.dn[i][g] + 32768 FROM generate_series(1, e.ngroups) g) AS ramp
FROM raw_exposure e
JOIN raw_pixel p ON p.exp_id = e.exp_id AND p.set_id BETWEEN e.set_id AND e.set_id
CROSS JOIN LATERAL generate_series(1, e.nints) i;
COMMENT ON VIEW ramps IS 'DN; ramp[group]';

CREATE VIEW ref_ramps AS
SELECT (CAST(p.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | i AS ramp_id,
    p.pixel_id, p.exp_id, i AS intnumber, p.y, p.x,
    ARRAY(SELECT p.dn[i][g] + 32768 FROM generate_series(1, e.ngroups) g) AS ramp
FROM raw_exposure e
JOIN ref_pixel p ON p.exp_id = e.exp_id AND p.set_id BETWEEN e.set_id AND e.set_id
CROSS JOIN LATERAL generate_series(1, e.nints) i;
COMMENT ON VIEW ref_ramps IS 'reference output in DN: one value for the four columns from x on of row y';

CREATE VIEW groups AS
SELECT (CAST(p.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | ((i - 1) * e.ngroups + g) AS group_id,
    (CAST(p.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | i AS ramp_id,
    g AS group_number,
    p.dn[i][g] + 32768 AS raw_value,
    p.pixel_id, p.exp_id, i AS intnumber
FROM raw_exposure e
JOIN raw_pixel p ON p.exp_id = e.exp_id AND p.set_id BETWEEN e.set_id AND e.set_id
CROSS JOIN LATERAL generate_series(1, e.nints) i
CROSS JOIN LATERAL generate_series(1, e.ngroups) g;
COMMENT ON VIEW groups IS 'raw_value in DN; join on pixel_id, exp_id and intnumber: no index serves the computed keys';

CREATE VIEW corrected_set AS
SELECT c.corrected_exp_id, c.exp_id,
    a.set_id AS ramp_set, b.set_id AS rate_set, a.nints, a.ngroups, a.common_groupdq, b.nints AS rate_nints
FROM corrected_exposure c
LEFT JOIN pixel_use ua ON ua.serial = c.ramp
LEFT JOIN pixel_set a ON a.set_id = ua.set_id
LEFT JOIN pixel_use ub ON ub.serial = c.rateints
LEFT JOIN pixel_set b ON b.set_id = ub.set_id;
COMMENT ON VIEW corrected_set IS 'the pixel rows of each corrected exposure';

CREATE VIEW corrected_pixel AS
SELECT c.corrected_exp_id, p.exp_id, p.pixel_id, c.nints, c.ngroups,
    p.sci, coalesce(p.groupdq, c.common_groupdq) AS groupdq, p.err, p.pixeldq, q.rate
FROM corrected_set c
JOIN ramp_pixel p ON p.exp_id = c.exp_id AND p.set_id BETWEEN c.ramp_set AND c.ramp_set
LEFT JOIN rateints_pixel q
    ON q.exp_id = p.exp_id AND q.set_id BETWEEN c.rate_set AND c.rate_set AND q.pixel_id = p.pixel_id
UNION ALL
SELECT c.corrected_exp_id, q.exp_id, q.pixel_id, c.rate_nints, 0, NULL, NULL, NULL, NULL, q.rate
FROM corrected_set c
JOIN rateints_pixel q ON q.exp_id = c.exp_id AND q.set_id BETWEEN c.rate_set AND c.rate_set
WHERE c.ramp_set IS NULL;

CREATE VIEW correctedramps AS
SELECT (p.corrected_exp_id << 43) | (CAST(p.pixel_id AS bigint) << 22) | i AS corr_ramp_id,
    (CAST(p.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | i AS ramp_id,
    p.corrected_exp_id,
    p.rate[i] AS slope_value,
    CASE WHEN p.sci IS NOT NULL THEN ARRAY(SELECT p.sci[i][g] FROM generate_series(1, p.ngroups) g) END AS corrected_ramp,
    CASE WHEN p.groupdq IS NOT NULL
        THEN ARRAY(SELECT CAST(p.groupdq[i][g] AS integer) FROM generate_series(1, p.ngroups) g) END AS dq_ramp,
    CASE WHEN p.err IS NOT NULL THEN ARRAY(SELECT p.err[i][g] FROM generate_series(1, p.ngroups) g) END AS err_ramp,
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
    p.pixel_id, p.exp_id, i AS intnumber, p.pixeldq
FROM corrected_pixel p
CROSS JOIN LATERAL generate_series(1, p.nints) i
LEFT JOIN LATERAL (
    SELECT CAST(bit_or(p.groupdq[i][g]) AS bigint) AS flags FROM generate_series(1, p.ngroups) g
) f ON true;
COMMENT ON VIEW correctedramps IS
    'corrected_ramp and err_ramp in DN, slope_value in DN/s; a flag is true where any group has it';

CREATE VIEW correctedgroups AS
SELECT (p.corrected_exp_id << 43) | (CAST(p.pixel_id AS bigint) << 22) | ((i - 1) * p.ngroups + g) AS corr_group_id,
    (CAST(p.exp_id AS bigint) << 43) | (CAST(p.pixel_id AS bigint) << 22) | ((i - 1) * p.ngroups + g) AS group_id,
    (p.corrected_exp_id << 43) | (CAST(p.pixel_id AS bigint) << 22) | i AS corr_ramp_id,
    g AS group_number,
    p.sci[i][g] AS corrected_value,
    CAST(p.groupdq[i][g] AS integer) AS dq_value,
    p.err[i][g] AS error_value,
    CAST(p.groupdq[i][g] AS bigint) & 1 <> 0 AS do_not_use,
    CAST(p.groupdq[i][g] AS bigint) & 2 <> 0 AS saturated,
    CAST(p.groupdq[i][g] AS bigint) & 4 <> 0 AS jump_det,
    CAST(p.groupdq[i][g] AS bigint) & 8 <> 0 AS dropout,
    CAST(p.groupdq[i][g] AS bigint) & 16 <> 0 AS outlier,
    CAST(p.groupdq[i][g] AS bigint) & 16 <> 0 AS reserved_16,
    CAST(p.groupdq[i][g] AS bigint) & 32 <> 0 AS persistence,
    CAST(p.groupdq[i][g] AS bigint) & 32 <> 0 AS reserved_32,
    CAST(p.groupdq[i][g] AS bigint) & 64 <> 0 AS ad_floor,
    CAST(p.groupdq[i][g] AS bigint) & 64 <> 0 AS reserved_64,
    CAST(p.groupdq[i][g] AS bigint) & 128 <> 0 AS chargeloss,
    CAST(p.groupdq[i][g] AS bigint) & 128 <> 0 AS reserved_128,
    CAST(p.groupdq[i][g] AS bigint) & 256 <> 0 AS reserved,
    CAST(p.groupdq[i][g] AS bigint) & 256 <> 0 AS unreliable_error,
    CAST(p.groupdq[i][g] AS bigint) & 512 <> 0 AS non_science,
    CAST(p.groupdq[i][g] AS bigint) & 1024 <> 0 AS dead,
    CAST(p.groupdq[i][g] AS bigint) & 2048 <> 0 AS hot,
    CAST(p.groupdq[i][g] AS bigint) & 4096 <> 0 AS warm,
    CAST(p.groupdq[i][g] AS bigint) & 8192 <> 0 AS low_qe,
    CAST(p.groupdq[i][g] AS bigint) & 16384 <> 0 AS rc,
    CAST(p.groupdq[i][g] AS bigint) & 32768 <> 0 AS telegraph,
    CAST(p.groupdq[i][g] AS bigint) & 65536 <> 0 AS nonlinear,
    CAST(p.groupdq[i][g] AS bigint) & 131072 <> 0 AS bad_ref_pixel,
    CAST(p.groupdq[i][g] AS bigint) & 262144 <> 0 AS no_flat_field,
    CAST(p.groupdq[i][g] AS bigint) & 524288 <> 0 AS no_gain_value,
    CAST(p.groupdq[i][g] AS bigint) & 1048576 <> 0 AS no_lin_corr,
    CAST(p.groupdq[i][g] AS bigint) & 2097152 <> 0 AS no_sat_check,
    CAST(p.groupdq[i][g] AS bigint) & 4194304 <> 0 AS unreliable_bias,
    CAST(p.groupdq[i][g] AS bigint) & 8388608 <> 0 AS unreliable_dark,
    CAST(p.groupdq[i][g] AS bigint) & 16777216 <> 0 AS unreliable_slope,
    CAST(p.groupdq[i][g] AS bigint) & 33554432 <> 0 AS unreliable_flat,
    CAST(p.groupdq[i][g] AS bigint) & 67108864 <> 0 AS open,
    CAST(p.groupdq[i][g] AS bigint) & 134217728 <> 0 AS adj_open,
    CAST(p.groupdq[i][g] AS bigint) & 268435456 <> 0 AS flux_estimated,
    CAST(p.groupdq[i][g] AS bigint) & 268435456 <> 0 AS unreliable_reset,
    CAST(p.groupdq[i][g] AS bigint) & 536870912 <> 0 AS msa_failed_open,
    CAST(p.groupdq[i][g] AS bigint) & 1073741824 <> 0 AS other_bad_pixel,
    CAST(p.groupdq[i][g] AS bigint) & 2147483648 <> 0 AS reference_pixel,
    p.pixel_id, p.exp_id, i AS intnumber, p.corrected_exp_id
FROM corrected_pixel p
CROSS JOIN LATERAL generate_series(1, p.nints) i
CROSS JOIN LATERAL generate_series(1, p.ngroups) g;
COMMENT ON VIEW correctedgroups IS 'corrected_value and error_value in DN';
