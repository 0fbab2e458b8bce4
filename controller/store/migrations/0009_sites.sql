-- The organisation tree as people change it: every change, sites that are out of use, imports that wait.

ALTER TABLE sites ADD COLUMN retired_ms BIGINT;
-- Number of the last change; 0 if it was changed before changes were kept only.
ALTER TABLE sites ADD COLUMN version BIGINT NOT NULL DEFAULT 0;

-- A site whose creation was undone is gone; what happened to it stays.
CREATE TABLE site_changes (
    id BIGINT PRIMARY KEY,
    site_id BIGINT NOT NULL,
    import_id BIGINT,
    -- Row of the import's file; 0 without one.
    line BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    changes TEXT NOT NULL
);
CREATE INDEX site_changes_by_site ON site_changes (site_id, id);
CREATE INDEX site_changes_by_import ON site_changes (import_id, id) WHERE import_id IS NOT NULL;

-- sheet holds the rows while they wait for a decision.
CREATE TABLE site_imports (
    id BIGINT PRIMARY KEY,
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

INSERT INTO counters (name, value) VALUES ('site_changes', 0), ('site_imports', 0);
