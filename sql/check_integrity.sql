-- SQLite only: 'ok', or what is damaged.
PRAGMA integrity_check
