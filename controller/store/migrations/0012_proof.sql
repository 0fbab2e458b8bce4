-- Where the audit chain ends; what was done without the second person; where sessions came from.

-- One row. An entry goes on from here and not from the newest that is there, so that entries which were
-- cut off leave a hole. The digest is empty while there is no entry.
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (id, seq, hash)
    SELECT 1, COALESCE(MAX(seq), 0),
        COALESCE((SELECT a.hash FROM audit a ORDER BY a.seq DESC LIMIT 1), '')
    FROM audit;

-- What takes two people and was done on the console with the root key.
CREATE TABLE broken_glass (
    id BIGINT PRIMARY KEY,
    time_ms BIGINT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    change_kind TEXT NOT NULL,
    reason TEXT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('broken_glass', 0);

ALTER TABLE web_sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE web_sessions ADD COLUMN browser TEXT NOT NULL DEFAULT '';
