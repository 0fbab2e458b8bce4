-- First pages of long lists cost as much in a log of a million entries as in one of a hundred.

CREATE INDEX audit_by_action ON audit (action, seq);
CREATE INDEX audit_by_actor ON audit (actor, action, seq);

-- Between which times each thousand positions of the audit chain lie: where a search for a time begins and ends.
CREATE TABLE audit_spans (
    block BIGINT PRIMARY KEY,
    least_ms BIGINT NOT NULL,
    most_ms BIGINT NOT NULL
);
INSERT INTO audit_spans (block, least_ms, most_ms)
    SELECT seq / 1000, MIN(time_ms), MAX(time_ms) FROM audit GROUP BY seq / 1000;

-- What a device said of itself is large: beside the rows that lists and polls touch.
CREATE TABLE device_said (
    device_id BIGINT PRIMARY KEY REFERENCES devices (id),
    about TEXT NOT NULL
);
INSERT INTO device_said (device_id, about) SELECT id, about FROM devices WHERE about <> '{}';
ALTER TABLE devices DROP COLUMN about;
CREATE INDEX devices_by_order ON devices (name, id);
