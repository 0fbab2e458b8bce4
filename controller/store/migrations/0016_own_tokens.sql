-- Tokens of programs that act for the account that made them, under one of its roles.

ALTER TABLE api_tokens ADD COLUMN user_id BIGINT;
ALTER TABLE api_tokens ADD COLUMN role TEXT NOT NULL DEFAULT '';
