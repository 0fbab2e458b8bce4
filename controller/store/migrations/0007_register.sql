-- The register: rooms, staff and assets, what was changed of them, and imports from spreadsheets.

CREATE TABLE register_items (
    id BIGINT PRIMARY KEY,
    kind BIGINT NOT NULL,
    site_id BIGINT NOT NULL REFERENCES sites (id),
    code TEXT NOT NULL,
    -- These repeat what lists and checks look for; field_values (JSON) has everything.
    state TEXT NOT NULL,
    room TEXT NOT NULL,
    owner TEXT NOT NULL,
    field_values TEXT NOT NULL,
    -- What a search looks into, in small letters.
    search TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    -- Number of the last change.
    version BIGINT NOT NULL
);
-- Lists are in the order of site and code, so that a page of any of them is a walk along one of these.
CREATE UNIQUE INDEX register_items_by_code ON register_items (kind, site_id, code);
CREATE INDEX register_items_by_state ON register_items (kind, state, site_id, code);
CREATE INDEX register_items_by_room ON register_items (site_id, room, kind, code) WHERE room <> '';
CREATE INDEX register_items_by_owner ON register_items (site_id, owner, kind, code) WHERE owner <> '';

-- An item whose creation was undone is gone; what happened to it stays.
CREATE TABLE register_changes (
    id BIGINT PRIMARY KEY,
    item_id BIGINT NOT NULL,
    import_id BIGINT,
    -- Row of the import's spreadsheet; 0 without one.
    line BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    changes TEXT NOT NULL
);
CREATE INDEX register_changes_by_item ON register_changes (item_id, id);
CREATE INDEX register_changes_by_import ON register_changes (import_id, id) WHERE import_id IS NOT NULL;

-- sheet holds the rows while they wait for a decision.
CREATE TABLE register_imports (
    id BIGINT PRIMARY KEY,
    kind BIGINT NOT NULL,
    file_name TEXT NOT NULL,
    state TEXT NOT NULL,
    sheet TEXT NOT NULL,
    asked_ms BIGINT NOT NULL,
    asked_by TEXT NOT NULL,
    decided_ms BIGINT,
    decided_by TEXT NOT NULL,
    added BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    unchanged BIGINT NOT NULL
);
CREATE TABLE register_import_sites (
    import_id BIGINT NOT NULL REFERENCES register_imports (id),
    site_id BIGINT NOT NULL REFERENCES sites (id),
    PRIMARY KEY (import_id, site_id)
);

INSERT INTO counters (name, value) VALUES
    ('register_items', 0), ('register_changes', 0), ('register_imports', 0);
