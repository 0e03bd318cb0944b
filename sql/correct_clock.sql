-- For a clock that is believed although it shows an earlier date than the recorded one.
UPDATE clock SET seen_at = $1 WHERE clock_id = 1
