-- The day's events are counted by host and severity: from the index alone, without a look at each row.

DROP INDEX events_by_receipt;
CREATE INDEX events_by_receipt ON events (stream, received_ms, severity, host_id);
