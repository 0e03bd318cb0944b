-- For a clock that was believed although it shows an earlier date than the one recorded.
UPDATE clock SET seen_at = $1 WHERE clock_id = 1
