-- A file for the register whose site is gone, and nothing above it stayed, is the province's to see.

ALTER TABLE register_imports ADD COLUMN province_only BIGINT NOT NULL DEFAULT 0;
