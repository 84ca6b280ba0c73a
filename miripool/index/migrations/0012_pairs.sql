-- Which Ramp and RateInts one run of the pipeline made. A ramp is written before the last steps are done, and names
-- fewer references and steps: with jump skipped it has no gain. So the two agree in what both headers say.

CREATE OR REPLACE FUNCTION said_of_run(product bigint) RETURNS TABLE (key text, value text) LANGUAGE sql STABLE AS $$
    SELECT k.key, coalesce(k.text, CAST(k.number AS text), CAST(k.flag AS text), '')
    FROM keyword k
    WHERE k.serial = product AND k.hdu = 0 AND k.occurrence = 0 AND (k.key = 'CRDS_CTX' OR k.text IS DISTINCT FROM 'N/A')
    AND k.key = ANY('{
        CAL_VER, CRDS_CTX,
        R_DARK, R_EMICOR, R_GAIN, R_IPC, R_LINEAR, R_MASK, R_READNO, R_REFPIX, R_RESET, R_RSCD, R_SATURA,
        S_DARK, S_DQINIT, S_EMICOR, S_FRSTFR, S_IPC, S_JUMP, S_LASTFR, S_LINEAR, S_REFPIX, S_RESET, S_RSCD, S_SATURA
    }')
$$;
COMMENT ON FUNCTION said_of_run IS 'keywords that the products of one run of the pipeline have in common';

CREATE OR REPLACE FUNCTION unpaired(names text[]) RETURNS TABLE (serial bigint, kind text, name text, version integer, detector text)
LANGUAGE sql STABLE AS $$
    SELECT p.serial, p.kind, p.name, p.version, p.detector
    FROM product p
    WHERE p.name = ANY(names) AND p.kind IN ('Ramp', 'RateInts') AND p.removed IS NULL
    AND NOT EXISTS (SELECT FROM corrected_exposure c WHERE c.ramp = p.serial)
    AND NOT EXISTS (SELECT FROM corrected_exposure c WHERE c.rateints = p.serial)
$$;
COMMENT ON FUNCTION unpaired IS 'Ramps and RateInts that are not in corrected_exposure yet';

-- A pair has the smaller serial for its number, so that it keeps it when the second of the two comes. Names are an
-- array, which is looked up in an index: a join of tables that were filled since the last ANALYZE was planned as a loop
-- over both, 3 s for 1000 products among 6000.
CREATE OR REPLACE FUNCTION pair_calibrations(names text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM corrected_exposure c USING exposure e WHERE c.exp_id = e.exp_id AND e.name = ANY(names);
    -- The n-th Ramp that says something of its run goes with the n-th RateInts that says the same.
    WITH told AS MATERIALIZED (
        SELECT u.*, coalesce((
            SELECT md5(string_agg(s.key || '=' || s.value, chr(10) ORDER BY s.key)) FROM said_of_run(u.serial) s
        ), '') AS run
        FROM unpaired(names) u
    ), numbered AS MATERIALIZED (
        SELECT *, row_number() OVER (PARTITION BY t.kind, t.name, t.run ORDER BY t.version) AS nth FROM told t
    )
    INSERT INTO corrected_exposure (corrected_exp_id, exp_id, ramp, rateints, detector)
    SELECT least(r.serial, i.serial), e.exp_id, r.serial, i.serial, r.detector
    FROM (SELECT * FROM numbered n WHERE n.kind = 'Ramp') r
    JOIN (SELECT * FROM numbered n WHERE n.kind = 'RateInts') i ON i.name = r.name AND i.run = r.run AND i.nth = r.nth
    JOIN exposure e ON e.name = r.name;
    -- Of the others, two that contradict each other in nothing: each is what the other has most in common with, and of
    -- several the oldest. What is left then is looked at again.
    LOOP
        WITH left_over AS MATERIALIZED (
            SELECT * FROM unpaired(names)
        ), common AS MATERIALIZED (
            SELECT r.serial AS ramp, i.serial AS rateints, r.name, r.detector,
                row_number() OVER (PARTITION BY r.serial ORDER BY s.same DESC, i.version) AS nth_of_ramp,
                row_number() OVER (PARTITION BY i.serial ORDER BY s.same DESC, r.version) AS nth_of_rateints
            FROM left_over r
            JOIN left_over i ON i.name = r.name AND i.kind = 'RateInts'
            CROSS JOIN LATERAL (
                SELECT count(*) AS same, coalesce(bool_and(a.value = b.value), false) AS agree
                FROM said_of_run(r.serial) a JOIN said_of_run(i.serial) b ON b.key = a.key
            ) s
            WHERE r.kind = 'Ramp' AND s.agree
        )
        INSERT INTO corrected_exposure (corrected_exp_id, exp_id, ramp, rateints, detector)
        SELECT least(c.ramp, c.rateints), e.exp_id, c.ramp, c.rateints, c.detector
        FROM common c
        JOIN exposure e ON e.name = c.name
        WHERE c.nth_of_ramp = 1 AND c.nth_of_rateints = 1;
        EXIT WHEN NOT FOUND;
    END LOOP;
    INSERT INTO corrected_exposure (corrected_exp_id, exp_id, ramp, rateints, detector)
    SELECT u.serial, e.exp_id,
        CASE WHEN u.kind = 'Ramp' THEN u.serial END, CASE WHEN u.kind = 'RateInts' THEN u.serial END, u.detector
    FROM unpaired(names) u
    JOIN exposure e ON e.name = u.name;
END
$$;
COMMENT ON FUNCTION pair_calibrations IS 'finds for exposures of some names which Ramp and RateInts belong together';

DO $$
BEGIN
    IF EXISTS (SELECT FROM exposure) THEN
        PERFORM pair_calibrations(ARRAY(SELECT e.name FROM exposure e));
    END IF;
END
$$;
