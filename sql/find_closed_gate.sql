-- SQLite only: PostgreSQL has templates/pass_gate.sql. $1 is the newest migration that this program knows.
SELECT reason FROM write_gate WHERE closed_below > $1
