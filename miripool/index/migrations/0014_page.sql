-- Orders of a table of products by columns with many different values, without sorting it (miripool/index/page.py). The heads alone: that is
-- what people look at, and a version that is no head any more costs nothing. The kind is there so that the index answers alone.

CREATE INDEX product_bytes ON product (bytes, serial) INCLUDE (kind) WHERE head;
CREATE INDEX product_obs_id ON product (obs_id, serial) INCLUDE (kind) WHERE head;
