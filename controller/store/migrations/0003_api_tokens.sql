-- Tokens of programs that ask PromQL or send samples. Only the secret's digest is kept.

INSERT INTO counters (name, value) VALUES ('api_tokens', 0);

CREATE TABLE api_tokens (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    rights TEXT NOT NULL,
    site_id BIGINT REFERENCES sites (id),
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_ms BIGINT NOT NULL,
    revoked_ms BIGINT
);
