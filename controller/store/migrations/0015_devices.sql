-- Devices of the network that hosts poll. A host knows its devices by name; the number is ours.

CREATE TABLE devices (
    id BIGINT PRIMARY KEY,
    host_id BIGINT NOT NULL REFERENCES hosts (id),
    name TEXT NOT NULL,
    -- Where somebody put it; nothing means where its host is.
    site_id BIGINT REFERENCES sites (id),
    asset_id BIGINT REFERENCES register_items (id),
    state TEXT NOT NULL,
    problem TEXT NOT NULL,
    state_since_ms BIGINT NOT NULL,
    first_poll_ms BIGINT NOT NULL,
    last_poll_ms BIGINT NOT NULL,
    last_answer_ms BIGINT,
    every_s BIGINT NOT NULL,
    kind TEXT NOT NULL,
    profile TEXT NOT NULL,
    model TEXT NOT NULL,
    serial TEXT NOT NULL,
    needs_profile BIGINT NOT NULL,
    -- JSON: what the device said of itself when it answered last.
    about TEXT NOT NULL
);
CREATE UNIQUE INDEX devices_by_name ON devices (host_id, name);
CREATE INDEX devices_by_site ON devices (site_id);

INSERT INTO counters (name, value) VALUES ('devices', 0);
