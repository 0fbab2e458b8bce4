-- The first schema. Plain SQL that SQLite and PostgreSQL both take; on SQLite the runner writes
-- INTEGER for the type of single-column number keys, which makes them row ids.
-- Times are Unix milliseconds (_ms) or seconds (_s). Truth values are 0 and 1.

CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES
    ('sites', 0), ('hosts', 0), ('approvals', 0), ('events', 0), ('users', 0), ('revocations', 0);

CREATE TABLE sites (
    id BIGINT PRIMARY KEY,
    site_key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    tier TEXT NOT NULL,
    parent_id BIGINT REFERENCES sites (id),
    court_code TEXT NOT NULL
);
CREATE INDEX sites_by_parent ON sites (parent_id);

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    secret_hash TEXT NOT NULL,
    site_id BIGINT NOT NULL REFERENCES sites (id),
    uses BIGINT NOT NULL,
    uses_left BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    needs_approval BIGINT NOT NULL,
    simulated BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    revoked_ms BIGINT
);

CREATE TABLE hosts (
    id BIGINT PRIMARY KEY,
    site_id BIGINT NOT NULL REFERENCES sites (id),
    token_id TEXT NOT NULL REFERENCES tokens (id),
    hostname TEXT NOT NULL,
    machine TEXT NOT NULL,
    enrolled_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    evidence_key TEXT NOT NULL,
    policy_root TEXT NOT NULL,
    simulated BIGINT NOT NULL,
    version TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    session_confirmed TEXT NOT NULL,
    session_issued TEXT NOT NULL,
    identity_conflict_ms BIGINT,
    certificate_expires_s BIGINT NOT NULL
);
CREATE INDEX hosts_by_site ON hosts (site_id);
CREATE INDEX hosts_by_machine ON hosts (machine, hostname);
CREATE INDEX hosts_by_token ON hosts (token_id, evidence_key);

-- Apart from hosts because it changes every minute and the rest hardly ever.
CREATE TABLE host_seen (
    host_id BIGINT PRIMARY KEY REFERENCES hosts (id),
    last_seen_ms BIGINT NOT NULL
);

CREATE TABLE approvals (
    id BIGINT PRIMARY KEY,
    token_id TEXT NOT NULL REFERENCES tokens (id),
    evidence_key TEXT NOT NULL,
    hostname TEXT NOT NULL,
    machine TEXT NOT NULL,
    version TEXT NOT NULL,
    requested_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    decided_ms BIGINT,
    host_id BIGINT REFERENCES hosts (id),
    UNIQUE (token_id, evidence_key)
);

CREATE TABLE certificates (
    serial TEXT NOT NULL PRIMARY KEY,
    host_id BIGINT NOT NULL REFERENCES hosts (id),
    not_before_s BIGINT NOT NULL,
    not_after_s BIGINT NOT NULL,
    issued_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    chain_pem TEXT NOT NULL
);
CREATE INDEX certificates_by_host ON certificates (host_id);

CREATE TABLE revocations (
    change_number BIGINT PRIMARY KEY,
    host_id BIGINT NOT NULL REFERENCES hosts (id),
    serial TEXT,
    time_ms BIGINT NOT NULL,
    reason TEXT NOT NULL
);

-- What has been received of each stream; see dedup.rs for the text.
CREATE TABLE event_streams (
    host_id BIGINT NOT NULL REFERENCES hosts (id),
    epoch BIGINT NOT NULL,
    stream BIGINT NOT NULL,
    received TEXT NOT NULL,
    PRIMARY KEY (host_id, stream, epoch)
);

CREATE TABLE events (
    id BIGINT PRIMARY KEY,
    host_id BIGINT NOT NULL REFERENCES hosts (id),
    stream BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    severity BIGINT NOT NULL,
    message TEXT NOT NULL,
    fields TEXT NOT NULL
);
CREATE INDEX events_by_time ON events (time_ms, id);
CREATE INDEX events_by_host ON events (host_id, time_ms, id);
CREATE INDEX events_by_kind ON events (kind, time_ms, id);
CREATE INDEX events_by_receipt ON events (stream, received_ms);

CREATE TABLE gaps (
    host_id BIGINT NOT NULL REFERENCES hosts (id),
    epoch BIGINT NOT NULL,
    stream TEXT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    from_ms BIGINT NOT NULL,
    to_ms BIGINT NOT NULL,
    reason TEXT NOT NULL,
    noted_ms BIGINT NOT NULL,
    PRIMARY KEY (host_id, epoch, stream, first_seq, reason)
);

CREATE TABLE facts (
    host_id BIGINT PRIMARY KEY REFERENCES hosts (id),
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    json TEXT NOT NULL
);

CREATE TABLE users (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    password_changed_ms BIGINT NOT NULL
);

CREATE TABLE web_sessions (
    id_hash TEXT NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    created_ms BIGINT NOT NULL,
    last_used_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE settings (
    setting_key TEXT NOT NULL,
    valid_from_ms BIGINT NOT NULL,
    value TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (setting_key, valid_from_ms)
);
INSERT INTO settings (setting_key, valid_from_ms, value, source) VALUES
    ('security_retention_days', 1496246400000, '180',
     'GB/T 22239-2019 (MLPS level 3, audit records); 网络安全法 第二十一条: 网络日志留存不少于六个月'),
    ('event_retention_days', 1496246400000, '180',
     'default of this program: as long as security events');

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    previous TEXT NOT NULL,
    time_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT,
    detail_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_by_subject ON audit (subject, seq);
