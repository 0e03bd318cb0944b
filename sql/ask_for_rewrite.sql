-- SQLite only: requests that the file be rewritten when one process next has it to itself.
PRAGMA user_version = 0
