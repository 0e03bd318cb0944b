-- Compare and set: only as they were read.
UPDATE users SET second_factors = $2 WHERE user_id = $1 AND second_factors IS NOT DISTINCT FROM $3
