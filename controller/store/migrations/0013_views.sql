-- Filters of a page that somebody keeps under a name.

CREATE TABLE saved_views (
    id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id),
    page TEXT NOT NULL,
    name TEXT NOT NULL,
    query TEXT NOT NULL
);
CREATE UNIQUE INDEX saved_views_by_name ON saved_views (user_id, page, name);

INSERT INTO counters (name, value) VALUES ('saved_views', 0);
