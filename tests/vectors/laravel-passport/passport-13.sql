CREATE TABLE users (
  "id" bigint,
  "name" varchar(255),
  "email" varchar(255),
  "email_verified_at" timestamp,
  "password" varchar(255),
  "remember_token" varchar(100),
  "created_at" timestamp,
  "updated_at" timestamp
);
INSERT INTO users VALUES ('1', 'Anna', 'anna@example.test', '2025-01-02 03:04:06', '$2y$12$uz6ZH9rl76lk9qQkv/wMqer07o0.oSGROg5422N8yBQ6V/iIULZ/m', 'a token of tests', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO users VALUES ('2', 'Bert', 'bert@example.test', NULL, '$2y$10$huUMHlvg3bUdKyVQXl.1eOXcfe/9t3tsGA9HZVoneqkDl.pxNj23m', 'a token of tests', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO users VALUES ('3', 'Carl', 'carl@example.test', NULL, '$argon2id$v=19$m=65536,t=4,p=1$R3p3aXJFUXNVdTR3dUFDSQ$kTnuKikgCayECqEnCJf5lxoRTwYa140aJK9DSJLPz7s', 'a token of tests', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO users VALUES ('4', 'Dora', 'dora@example.test', NULL, '$argon2i$v=19$m=1024,t=2,p=2$WWVTcGRnY050UVpYVjIwNQ$44OdXzyDOU2DnOiAslRLmiw6dYQrfLJP6NuExg15vIo', 'a token of tests', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO users VALUES ('5', 'Jürgen', 'jürgen@example.test', NULL, '$2y$10$Bo/07C3f7Br8Hqy8NvWdtOhwI0H4h/nbxO.MxqRPlbI/AYZyvMMvi', 'a token of tests', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO users VALUES ('6', 'Md5', 'md5@example.test', NULL, '098f6bcd4621d373cade4e832627b4f6', NULL, '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO users VALUES ('7', 'None', 'none@example.test', NULL, '', NULL, '2025-01-02 03:04:05', '2025-01-02 03:04:05');
CREATE TABLE oauth_clients (
  "id" uuid,
  "owner_type" varchar(255),
  "owner_id" bigint,
  "name" varchar(255),
  "secret" varchar(255),
  "provider" varchar(255),
  "redirect_uris" text,
  "grant_types" text,
  "revoked" boolean,
  "created_at" timestamp,
  "updated_at" timestamp
);
INSERT INTO oauth_clients VALUES ('3d2f3488-92e2-452c-8880-67efc9254a26', NULL, NULL, 'The web', '$2y$10$PJLzyQUugMHPXKTLR1A0su61XyPrxFK3tw7y71SyE73cC7Jin9hSy', NULL, '[]', '["password","refresh_token"]', '0', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO oauth_clients VALUES ('a1554fc2-1561-4341-8672-5ce4b6ca8ac3', NULL, NULL, 'The readable', 'test-secret-of-readable-1d28e511b1a085b330bf', NULL, '[]', '["password","refresh_token"]', '0', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO oauth_clients VALUES ('25cc217c-077f-4222-8121-31f3580f985c', NULL, NULL, 'The phone', NULL, NULL, '[]', '["password","refresh_token"]', '0', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO oauth_clients VALUES ('7e8eb25f-45d5-428a-859b-c16aa8d45ca3', NULL, NULL, 'The revoked', '$2y$10$lWl6stLTOKaLR2fhcRz8UOHzD6mctCtaqw1P.IBnjqBftT1VEI4Pa', NULL, '[]', '["password","refresh_token"]', '1', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO oauth_clients VALUES ('5c4c90d6-a7dd-4afa-81de-7c5f6960e547', NULL, NULL, 'The personal', '$2y$10$cF2..l1MTFhH7wyBO/nQ3e59bou69g3zqUPgQmq.BbuYnC6aOp53y', NULL, '[]', '["personal_access"]', '0', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO oauth_clients VALUES ('cc7e6ac7-eb53-4bd1-88d0-2891070d4982', NULL, NULL, 'The machine', '$2y$10$zMzdCZuNOwFSxUQ.xl2X1OGApczN0kjTWqVuIMziyaguvadKBoo2u', NULL, '[]', '["client_credentials"]', '0', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO oauth_clients VALUES ('c4058947-3d0a-4ad3-85d5-fc291192a4ed', NULL, NULL, 'The page', NULL, NULL, '["https://app.example.test/callback"]', '["authorization_code","refresh_token"]', '0', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
INSERT INTO oauth_clients VALUES ('a748719f-c9dd-4c7e-8b18-596ab9f20883', NULL, NULL, 'The provider', '$2y$10$5N/8c.ravzchC95K5dWAbudbKAt/0CNAL47rn7wwKavulZoQAJoNW', 'admins', '[]', '["password","refresh_token"]', '0', '2025-01-02 03:04:05', '2025-01-02 03:04:05');
