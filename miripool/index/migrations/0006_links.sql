-- What contexts refer to, and what versions were made from.

CREATE TABLE link (
    serial bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    target bigint NOT NULL,
    PRIMARY KEY (serial, name)
);
CREATE INDEX link_target ON link (target);
COMMENT ON TABLE link IS
    'references of contexts: serial of the context, name of the reference, serial of the version it refers to';

CREATE TABLE made_from (
    serial bigint NOT NULL,
    what text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    digest text COLLATE "C",
    input bigint,
    PRIMARY KEY (serial, what, name)
);
CREATE INDEX made_from_input ON made_from (input);
CREATE INDEX made_from_name ON made_from (name);
CREATE INDEX made_from_digest ON made_from (digest);
COMMENT ON TABLE made_from IS
    'from the history of versions: inputs (what = input, name = URN, input = serial) and reference files (what = keyword)';
