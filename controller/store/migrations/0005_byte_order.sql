-- PostgreSQL only
-- SQLite compares texts byte by byte and folds the case of ASCII letters only. A PostgreSQL database has
-- an order and a folding of its own, which the operating system's updates may even change. With the
-- order "C" on every text both are alike; the tables' rows stay as they are, their indexes are built anew.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = current_schema() AND data_type = 'text'
            AND collation_name IS DISTINCT FROM 'C'
    LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN %I TYPE TEXT COLLATE "C"',
            found.table_name, found.column_name);
    END LOOP;
END
$$;
