UPDATE keys SET sealed_key = $3 WHERE kid = $1 AND sealed_key = $2
