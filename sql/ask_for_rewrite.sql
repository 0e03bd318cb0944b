-- For SQLite alone: the file is written anew when one process next has it to itself.
PRAGMA user_version = 0
