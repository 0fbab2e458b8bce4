-- People: what an account may do where, acts that need two, second factors.

ALTER TABLE users ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN home_site_id BIGINT REFERENCES sites (id);
-- 1: somebody else gave the password; it is for setting an own one only.
ALTER TABLE users ADD COLUMN password_once BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN disabled_ms BIGINT;

-- site_id 0 is the whole province.
CREATE TABLE grants (
    user_id BIGINT NOT NULL REFERENCES users (id),
    role TEXT NOT NULL,
    site_id BIGINT NOT NULL,
    granted_ms BIGINT NOT NULL,
    granted_by TEXT NOT NULL,
    PRIMARY KEY (user_id, role, site_id)
);
INSERT INTO grants (user_id, role, site_id, granted_ms, granted_by)
    SELECT id, 'province_admin', 0, created_ms, 'console' FROM users;
ALTER TABLE users DROP COLUMN role;

-- Who made whom what they are; see account_change.rs of the model.
CREATE TABLE account_ties (
    user_id BIGINT NOT NULL REFERENCES users (id),
    by_user_id BIGINT NOT NULL REFERENCES users (id),
    time_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, by_user_id)
);

CREATE TABLE acts (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    change_kind TEXT NOT NULL,
    -- Empty where the change is about no role.
    role TEXT NOT NULL,
    site_id BIGINT NOT NULL,
    reason TEXT NOT NULL,
    asked_by BIGINT NOT NULL REFERENCES users (id),
    asked_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    decided_by BIGINT REFERENCES users (id),
    decided_ms BIGINT
);
CREATE INDEX acts_by_state ON acts (state, id);

-- The secret is sealed by the controller's key; see second_factor.rs. last_step is the last time
-- step whose code was used, so that no code is good twice.
CREATE TABLE second_factors (
    user_id BIGINT PRIMARY KEY REFERENCES users (id),
    sealed TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    confirmed_ms BIGINT,
    last_step BIGINT NOT NULL
);
CREATE TABLE recovery_codes (
    code_hash TEXT NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id)
);
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id);

-- `authority` counts whatever may end a session or change what somebody sees.
INSERT INTO counters (name, value) VALUES ('acts', 0), ('authority', 0);
