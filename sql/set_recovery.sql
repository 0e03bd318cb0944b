UPDATE keys SET recovery_recipients = $2, recovery = $3 WHERE kid = $1 AND purpose = 'data'
