-- Writes that their callers named (Idempotency-Key), so that each is done once. What was asked and
-- answered is sealed by the controller's key: it may hold a secret that is shown once.
CREATE TABLE named_requests (
    user_id BIGINT NOT NULL REFERENCES users (id),
    key_hash TEXT NOT NULL,
    sealed TEXT NOT NULL,
    -- 0 while it is being done.
    done BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, key_hash)
);
CREATE INDEX named_requests_by_expiry ON named_requests (expires_ms);
