-- For questions in SQL: opens exactly one statement that returns rows.

CREATE FUNCTION open_query(statement text) RETURNS refcursor LANGUAGE plpgsql AS $$
DECLARE
    opened refcursor := 'miripool_query';
BEGIN
    OPEN opened FOR EXECUTE statement;
    RETURN opened;
END
$$;
