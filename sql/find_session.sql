-- A session whose user and client are good. Of a user who must use a second factor, only sessions are good that were
-- opened with one. The replica compares the dates with its own clock.
SELECT
    s.session_id, s.user_id, s.client_id, s.generation, s.scope, s.audiences, s.auth_time,
    s.refreshed_at, s.expires_at, s.ends_at, s.second_factor_at, u.username,
    u.scope AS user_scope, u.roles
FROM sessions AS s
INNER JOIN users AS u ON u.user_id = s.user_id
INNER JOIN clients AS c ON c.client_id = s.client_id
WHERE
    s.session_id IN ($1)
    AND u.disabled_at IS NULL
    AND (u.mfa_required_at IS NULL OR s.second_factor_at IS NOT NULL)
    AND c.disabled_at IS NULL
