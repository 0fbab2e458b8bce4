-- SQLite only
-- A search for a part of a word looks at every item: at the index alone, in the order of lists, it takes a
-- quarter of the time. PostgreSQL looks with several processes, and an entry may be too long for its index.

CREATE INDEX register_items_by_search ON register_items (kind, site_id, code, state, search);
