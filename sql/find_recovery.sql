SELECT kid, recovery_recipients, recovery FROM keys WHERE kid = $1 AND purpose = 'data'
