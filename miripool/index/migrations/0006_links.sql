-- What contexts refer to.

CREATE TABLE link (
    serial bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    target bigint NOT NULL,
    PRIMARY KEY (serial, name)
);
CREATE INDEX link_target ON link (target);
COMMENT ON TABLE link IS 'references of contexts: serial of the context, name of the reference, serial of what it is to';
