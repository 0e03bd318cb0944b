counter, failures, failed_at, forgotten_at, succeeded_at
