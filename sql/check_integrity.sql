-- For SQLite alone: 'ok', or what is damaged.
PRAGMA integrity_check
