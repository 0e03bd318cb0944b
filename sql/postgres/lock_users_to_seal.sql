-- Nobody changes a user until the end of the transaction, so whoever writes a hash later sees which data key is used by
-- then. If somebody does at this moment, this fails and is tried again, so that nobody waits behind it.
LOCK TABLE users IN SHARE MODE NOWAIT
