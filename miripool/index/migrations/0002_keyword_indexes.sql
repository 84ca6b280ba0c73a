-- Indexes for conditions on the values of keywords. miripool/index/keyword_indexes.py has the same statements.

CREATE INDEX keyword_number ON keyword (key, number, serial)
    WHERE first AND number IS NOT NULL;
CREATE INDEX keyword_text ON keyword (key, text, serial)
    WHERE first AND time IS NULL AND octet_length(text) <= 500;
CREATE INDEX keyword_time ON keyword (key, time, serial) INCLUDE (text)
    WHERE first AND time IS NOT NULL AND octet_length(text) <= 500;
CREATE INDEX keyword_long ON keyword (key, serial)
    WHERE first AND octet_length(text) > 500;
CREATE INDEX keyword_other ON keyword (key, flag, serial)
    WHERE first AND number IS NULL AND text IS NULL;
CREATE INDEX keyword_later ON keyword (key, hdu_name, serial)
    WHERE NOT first;
