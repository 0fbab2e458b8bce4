-- Whether the host's key signed the batch that brought an event; 0 where no signature is expected.
ALTER TABLE events ADD COLUMN signature BIGINT NOT NULL DEFAULT 0;

-- Every batch of security events exactly as it came, in one chain: proof for whoever asks later. The
-- chained record is made of the other columns, see proofs.rs. Bytes are base64.
CREATE TABLE batch_proofs (
    seq BIGINT PRIMARY KEY,
    previous TEXT NOT NULL,
    time_ms BIGINT NOT NULL,
    host_id BIGINT NOT NULL REFERENCES hosts (id),
    epoch BIGINT NOT NULL,
    batch_seq BIGINT NOT NULL,
    signature BIGINT NOT NULL,
    first_event BIGINT NOT NULL,
    events BIGINT NOT NULL,
    batch TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX batch_proofs_by_event ON batch_proofs (first_event);

-- What happens again and again is audited once and then counted, see repeats.rs.
CREATE TABLE audit_repeats (
    repeat_key TEXT NOT NULL PRIMARY KEY,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    repeats BIGINT NOT NULL,
    window_ms BIGINT NOT NULL,
    closes_ms BIGINT NOT NULL
);
