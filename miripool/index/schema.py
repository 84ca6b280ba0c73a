"""The tables of one pool's PostgreSQL schema, as SQLAlchemy sees them. Migrations make them; a test compares."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE, JSONB

__all__ = [
    "STILL",
    "TYPED_KEYWORDS",
    "corrected_exposure",
    "dataset",
    "exposure",
    "exposure_statistic",
    "footprint",
    "footprint_pending",
    "keyword",
    "keyword_name",
    "metadata",
    "moment",
    "pixel_block",
    "pixel_set",
    "pixel_use",
    "product",
    "state",
    "tag",
    "tag_event",
    "timing",
    "version_state",
]

metadata = MetaData()
"""No schema is named here: each connection translates None to its pool's (``schema_translate_map``)."""

_C = Text(collation="C")
"""Text that compares by code point, as Python does."""

_UTC = DateTime(timezone=True)

STILL = (1 << 63) - 1
"""Stands for an entry that is not there yet."""

state = Table(
    "pool_state",
    metadata,
    Column("pool_id", Text, primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column(
        "applied",
        BigInteger,
        nullable=False,
        comment="number of the last journal entry that the index has; -1 for none",
    ),
    Column("applied_digest", Text, comment="digest of that entry"),
    Column("next_serial", BigInteger, nullable=False),
    Column("products", BigInteger, nullable=False, comment="number of rows of product; versions in the trash count"),
    Column("analyzed_products", BigInteger, nullable=False, comment="number of rows of product at the last ANALYZE"),
    Column(
        "lost",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="not 0 if rows of product were deleted, which miripool never does",
    ),
    Column(
        "has_past",
        Boolean,
        nullable=False,
        server_default="true",
        comment="whether moment and version_state are filled; a pool indexed by an older miripool has them once they "
        "were needed",
    ),
)

TYPED_KEYWORDS = {
    "instrument": "INSTRUME",
    "detector": "DETECTOR",
    "subarray": "SUBARRAY",
    "exp_type": "EXP_TYPE",
    "readpatt": "READPATT",
    "filter": "FILTER",
    "channel": "CHANNEL",
    "band": "BAND",
    "obs_id": "OBS_ID",
    "ngroups": "NGROUPS",
    "nints": "NINTS",
    "cal_ver": "CAL_VER",
    "crds_ctx": "CRDS_CTX",
}
"""Column of `product` and the bare keyword it repeats, for people who write SQL and for the quickest selects."""

product = Table(
    "product",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", _C, nullable=False),
    Column("name", _C, nullable=False),
    Column("version", Integer, nullable=False),
    Column(
        "head",
        Boolean,
        nullable=False,
        comment="whether this is the newest version of its track that is not in the trash",
    ),
    Column(
        "removed", DateTime(timezone=True), comment="when the version was put into the trash; NULL if it is not there"
    ),
    Column("created", _UTC, nullable=False, comment="time of the journal entry that saved it"),
    Column("entry", BigInteger, nullable=False),
    Column("manifest", Text, nullable=False),
    Column(
        "content", Text, nullable=False, comment="digest by which the same data with other timestamps are recognised"
    ),
    Column("bytes", BigInteger, nullable=False, comment="size of the version's FITS file"),
    Column("stored_bytes", BigInteger, nullable=False, comment="bytes that saving the version added to the pool"),
    Column("filename", Text),
    Column("file_digest", Text, comment="xxh3_128 of the version's FITS file"),
    Column("start_time", _UTC, comment="DATE-OBS with TIME-OBS"),
    *(
        Column(name, Double if name in {"ngroups", "nints"} else _C, comment=f"keyword {key}")
        for name, key in TYPED_KEYWORDS.items()
    ),
    Column(
        "purged",
        DateTime(timezone=True),
        comment="when the version was purged: its arrays may be gone; NULL if it was not",
    ),
    Column("saved_by", _C, comment="user@host who saved the version; NULL if the journal does not say"),
    Column("removed_by", _C, comment="user@host who put the version into the trash; NULL if the journal does not say"),
    UniqueConstraint("kind", "name", "version", name="product_track_version"),
    Index("product_name", "name"),
    Index("product_created", "created", "serial"),
    Index("product_start_time", "start_time"),
    Index("product_file_digest", "file_digest"),
    Index("product_bytes", "bytes", "serial", postgresql_include=["kind"], postgresql_where=text("head")),
    Index("product_obs_id", "obs_id", "serial", postgresql_include=["kind"], postgresql_where=text("head")),
)

dataset = Table(
    "dataset",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("hdu", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", _C, nullable=False),
    Column("digest", Text, nullable=False),
    Column("dtype", Text, nullable=False),
    Column("shape", ARRAY(BigInteger), nullable=False),
    Column("unit", Text),
    Column("min", Double),
    Column("max", Double),
    Column("mean", Double),
    Column("std", Double),
    Column("n", BigInteger, comment="number of elements; NULL for tables"),
    Column("n_nan", BigInteger),
    Column("n_flagged", BigInteger, comment="number of elements that are not zero, for data quality arrays"),
    Index("dataset_digest", "digest"),
)

link = Table(
    "link",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("name", _C, primary_key=True),
    Column("target", BigInteger, nullable=False),
    Index("link_target", "target"),
)

made_from = Table(
    "made_from",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("what", _C, primary_key=True),
    Column("name", _C, primary_key=True),
    Column("digest", _C),
    Column("input", BigInteger),
    Index("made_from_input", "input"),
    Index("made_from_name", "name"),
    Index("made_from_digest", "digest"),
)

tag = Table(
    "tag",
    metadata,
    Column("label", _C, primary_key=True),
    Column("kind", _C, primary_key=True),
    Column("name", _C, primary_key=True),
    Column("serial", BigInteger, nullable=False),
    Index("tag_serial", "serial"),
)

tag_event = Table(
    "tag_event",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("entry", BigInteger, nullable=False),
    Column("time", _UTC, nullable=False),
    Column("label", _C, nullable=False),
    Column("kind", _C, nullable=False),
    Column("name", _C, nullable=False),
    Column("serial", BigInteger, comment="version that the tag marks from then on; NULL if the tag was taken off"),
    Column("previous", BigInteger, comment="version that the tag marked before; NULL if there was none"),
    Column("by", _C, comment="user@host who moved the tag; NULL if the journal does not say"),
    Column("until", BigInteger, comment="entry that took the tag off the version; NULL where it still marks it"),
    Index("tag_event_label", "label"),
    Index("tag_event_track", "kind", "name"),
    Index("tag_event_serial", "serial"),
)

moment = Table(
    "moment",
    metadata,
    Column("entry", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "time",
        _UTC,
        nullable=False,
        comment="latest time of this entry and of all before it: the clocks of writers differ",
    ),
    Column("digest", Text, nullable=False),
    Column(
        "next_serial",
        BigInteger,
        nullable=False,
        comment="greater than every serial used, those of this entry included",
    ),
    Index("moment_time", "time", "entry"),
    comment="entries of the journal",
)

version_state = Table(
    "version_state",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, primary_key=True, autoincrement=False, comment="first entry after which it was so"),
    Column(
        "until",
        BigInteger,
        nullable=False,
        comment=f"first entry after which it was otherwise; {STILL} where it is so now",
    ),
    Column("head", Boolean, nullable=False),
    Column("removed", _UTC),
    Column("purged", _UTC),
    Column("removed_by", _C),
    comment="what product says of versions, and said after earlier entries of the journal",
)

keyword = Table(
    "keyword",
    metadata,
    Column("serial", BigInteger, nullable=False),
    Column("hdu", SmallInteger, nullable=False),
    Column("key", _C, nullable=False),
    Column("occurrence", SmallInteger, nullable=False),
    Column("hdu_name", _C, nullable=False),
    Column("first", Boolean, nullable=False, comment="whether the name of the keyword without an HDU means this row"),
    Column("number", Double),
    Column("text", _C),
    Column("flag", Boolean),
    Column("time", _UTC),
    # In this order one product's value of one keyword is one step down the index.
    PrimaryKeyConstraint("serial", "key", "hdu", "occurrence"),
)
"""One row per card. Its indexes are partial and stand in the migration, with the measurements that chose them."""

keyword_name = Table(
    "keyword_name",
    metadata,
    Column("key", _C, primary_key=True),
    Column("hdu_name", _C, primary_key=True),
)
"""What keywords there are: some hundred rows, where asking `keyword` itself would take another index on all of it."""

exposure = Table(
    "exposure",
    metadata,
    Column("exp_id", Integer, primary_key=True, autoincrement=False),
    Column("name", _C, nullable=False),
    UniqueConstraint("name", name="exposure_name_key"),
    comment="names of products with pixels, numbered in the order of their first save",
)

corrected_exposure = Table(
    "corrected_exposure",
    metadata,
    Column("corrected_exp_id", BigInteger, primary_key=True, autoincrement=False),
    Column("exp_id", Integer, ForeignKey("exposure.exp_id"), nullable=False),
    Column("ramp", BigInteger),
    Column("rateints", BigInteger),
    Column("detector", _C, comment="detector of its Ramp, or of its RateInts if it has no Ramp"),
    UniqueConstraint("ramp", name="corrected_exposure_ramp_key"),
    UniqueConstraint("rateints", name="corrected_exposure_rateints_key"),
    Index("corrected_exposure_exp_id", "exp_id"),
    comment="the Ramp and the RateInts (serials) that one calibration made of one exposure",
)

pixel_block = Table(
    "pixel_block",
    metadata,
    Column("block_id", Integer, Identity(), primary_key=True),
    Column("kind", _C, nullable=False),
    Column("detector", _C, nullable=False),
    Column("first_x", SmallInteger, nullable=False, comment="first column, 1 to 1032, in the FULL array"),
    Column("first_y", SmallInteger, nullable=False, comment="first row, 1 to 1024, in the FULL array"),
    Column("columns", SmallInteger, nullable=False),
    Column("rows", SmallInteger, nullable=False),
    Column("nints", Integer),
    Column("ngroups", Integer),
    Column(
        "datasets",
        ARRAY(_C),
        nullable=False,
        comment="columns that hold values, in alphabetical order; the others are NULL",
    ),
    Column(
        "slots",
        Integer,
        nullable=False,
        comment="exposures that its arrays hold, those that were dropped since counted",
    ),
    Column("made", _UTC, nullable=False, server_default=func.now()),
    comment="tables with one row for each pixel, for exposures of one detector, place and shape: a partition of each "
    "of the kind's block tables",
)

pixel_set = Table(
    "pixel_set",
    metadata,
    Column("set_id", Integer, Identity(), primary_key=True),
    Column("exp_id", Integer, ForeignKey("exposure.exp_id"), nullable=False),
    Column("kind", _C, nullable=False),
    Column("digest", Text, nullable=False, comment="digest of the arrays and their place on the detector"),
    Column(
        "common_groupdq",
        ARRAY(SmallInteger),
        comment="group DQ [integration][group] of the pixels that have none of their own",
    ),
    Column("made", _UTC, nullable=False, server_default=func.now()),
    Column("block_id", Integer, ForeignKey("pixel_block.block_id"), nullable=False),
    Column("slot", Integer, nullable=False, comment="place of the exposure in the arrays of its block, from 1"),
    UniqueConstraint("exp_id", "kind", "digest", name="pixel_set_exp_id_kind_digest_key"),
    UniqueConstraint("block_id", "slot", name="pixel_set_block_id_slot_key"),
    comment="pixel rows of one exposure; versions with the same arrays share them",
)

pixel_use = Table(
    "pixel_use",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("set_id", Integer, ForeignKey("pixel_set.set_id")),
    Column("reason", Text),
    CheckConstraint("(set_id IS NULL) <> (reason IS NULL)"),
    Index("pixel_use_set", "set_id"),
    comment="the pixel rows of a version, or why it has none; versions without a row here have none yet",
)

exposure_statistic = Table(
    "exposure_statistic",
    metadata,
    Column("name", _C, primary_key=True),
    Column("content", Text, primary_key=True, comment="of the version: product.content"),
    Column("integration", Integer, primary_key=True, comment="from 1; 0 for the mean of an exposure"),
    Column("amplifier", SmallInteger, primary_key=True, autoincrement=False),
    Column("rules", SmallInteger, nullable=False),
    Column("record", BigInteger, nullable=False, comment="serial of the ExposureStatistics that the row is from"),
    Column("pixels", BigInteger, nullable=False),
    Column("median", Double, nullable=False),
    Column("sigma", Double, nullable=False),
    Column("percentiles", ARRAY(Double), nullable=False),
    Column("cds_noise", Double, nullable=False),
    Column("cosmic_rays", Double, nullable=False),
    Column("flags", JSONB, nullable=False),
    Column("residuals", ARRAY(Double), nullable=False),
    Index("exposure_statistic_record", "record"),
    comment="statistics of versions, made from the products of the kind ExposureStatistics; exposure_statistics names "
    "the versions",
)

timing = Table(
    "timing",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("middle", Double, comment="middle of the exposure: EXPMID"),
    Column("ended", Double, comment="end of the exposure: EXPEND"),
    Column(
        "int_started",
        ARRAY(Double),
        comment="start of each integration, from INT_TIMES; empty if the file has no such table",
    ),
    Column("int_middle", ARRAY(Double), comment="middle of each integration, as int_started"),
    Column("int_ended", ARRAY(Double), comment="end of each integration, as int_started"),
    comment="times of a version: MJD in UTC, NaN where the file does not say",
)

footprint = Table(
    "footprint",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("dark", Boolean, nullable=False, comment="whether the exposure is a dark or was taken through OPAQUE"),
    Column(
        "cells", INT8MULTIRANGE, nullable=False, comment="HEALPix cells that the footprint touches, nested, depth 29"
    ),
    Column(
        "edges",
        ARRAY(Double),
        nullable=False,
        comment="ten numbers for each edge: which convex piece, normal, both corners",
    ),
    Column(
        "x",
        Double,
        nullable=False,
        comment="direction of its centre, with y and z; x towards RA 0, z towards the north pole",
    ),
    Column("y", Double, nullable=False),
    Column("z", Double, nullable=False),
    Column("centre", BigInteger, nullable=False, comment="HEALPix cell of its centre"),
    Index("footprint_cells", "cells", postgresql_using="gist"),
    Index("footprint_centre", "centre"),
    comment="part of the sky that a version's header says it saw; versions without a row have none",
)

footprint_pending = Table(
    "footprint_pending",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    comment="versions saved by an older miripool, whose footprint is yet to be made",
)
