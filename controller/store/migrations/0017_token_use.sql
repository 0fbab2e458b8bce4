-- When a program last came with its token, to the minute, and from where.

ALTER TABLE api_tokens ADD COLUMN last_used_ms BIGINT;
ALTER TABLE api_tokens ADD COLUMN last_used_from TEXT NOT NULL DEFAULT '';
