-- Every event batch whose events are kept: a batch that comes again is told from another one with
-- the same number however long ago it came and whatever epoch it was counted in. The epoch is that
-- of its first arrival and not part of the key: the same content is the same batch in any epoch.
CREATE TABLE event_batches (
    host_id BIGINT NOT NULL REFERENCES hosts (id),
    stream BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (host_id, stream, seq, checksum)
);
CREATE INDEX event_batches_by_receipt ON event_batches (stream, received_ms);
