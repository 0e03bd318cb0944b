CREATE TABLE auth_user (
  "id" integer NOT NULL,
  "password" character varying(128) NOT NULL,
  "last_login" timestamp with time zone,
  "is_superuser" boolean NOT NULL,
  "username" character varying(150) NOT NULL,
  "first_name" character varying(150) NOT NULL,
  "last_name" character varying(150) NOT NULL,
  "email" character varying(254) NOT NULL,
  "is_staff" boolean NOT NULL,
  "is_active" boolean NOT NULL,
  "date_joined" timestamp with time zone NOT NULL
);
INSERT INTO auth_user VALUES ('1', 'pbkdf2_sha256$1000000$FKRMpWIHQlSrrwRN8nPS6w$ghdAQMaKkKpq2//6iUn3ZZdOWA1si4bYHsw/eUYjr58=', NULL, 'false', 'of_pbkdf2_sha256', '', '', 'of_pbkdf2_sha256@example.test', 'false', 'true', '2026-11-27 18:05:51.625372+00');
INSERT INTO auth_user VALUES ('2', 'pbkdf2_sha1$1000000$4ytB6HGGMXy15EGQxvbkOB$zWzLhtMRPMi4FYGFyeUiskzeEc8=', NULL, 'false', 'of_pbkdf2_sha1', '', '', 'of_pbkdf2_sha1@example.test', 'false', 'true', '2026-11-27 18:05:51.850762+00');
INSERT INTO auth_user VALUES ('3', 'argon2$argon2id$v=19$m=102400,t=2,p=8$ZnhndjFXUjhNbnFsa1RHMG5kTjBDYQ$2/Vobtw8gmCfUovLBYWxlbJYKryXQ3wkMWSnT9Qu+eU', NULL, 'false', 'of_argon2', '', '', 'of_argon2@example.test', 'false', 'true', '2026-11-27 18:05:52.000705+00');
INSERT INTO auth_user VALUES ('4', 'bcrypt_sha256$$2b$12$5xEpbBM8LpsaQQyWCo7ba.sMjKyV2.wa6Njlu9ImpFgbito8IwtDm', NULL, 'false', 'of_bcrypt_sha256', '', '', 'of_bcrypt_sha256@example.test', 'false', 'true', '2026-11-27 18:05:52.237261+00');
INSERT INTO auth_user VALUES ('5', 'bcrypt$$2b$12$pl.rYw7AdkY.zJqr5ahDMucu9NlOXDZ3nXv5LgbYgRlbIg8qDLG66', NULL, 'false', 'of_bcrypt', '', '', 'of_bcrypt@example.test', 'false', 'true', '2026-11-27 18:05:52.473498+00');
INSERT INTO auth_user VALUES ('6', 'scrypt$16384$JuvTPhnQOy8vDFTyceUV9L$8$5$S+25NWDm+myfYJCMbSJw4e6EwyrdK6NBm+nhvqZiL711tHoQNbqxEv+elzB+1HRAGcXr2caARtBZEmJaxgA82Q==', NULL, 'false', 'of_scrypt', '', '', 'of_scrypt@example.test', 'false', 'true', '2026-11-27 18:05:52.665841+00');
INSERT INTO auth_user VALUES ('7', 'md5$GFMhz7saDpLUXDxpWD4ZzX$71a3d8a0b3362bd2055ac42a425acae7', NULL, 'false', 'of_md5', '', '', 'of_md5@example.test', 'false', 'true', '2026-11-27 18:05:52.667155+00');
INSERT INTO auth_user VALUES ('8', 'pbkdf2_sha256$1000000$ZR3VuhFeZk9eoiQPbYi6cN$PtDn2Jq4/XMKGh1XA0GYColtQun9CH/nd1jAyeGudTU=', NULL, 'true', 'Anna', 'Anna', 'Groß', 'Anna@example.test', 'true', 'true', '2026-11-27 18:05:52.896289+00');
INSERT INTO auth_user VALUES ('9', 'pbkdf2_sha256$1000000$hDazSyOviftT0XckVl7C7l$efajih8447YJF3BgrNYKYQR2OfWYxUkTJMn3DYQZ55Y=', NULL, 'false', 'bert', '', '', 'bert@example.test', 'false', 'false', '2026-11-27 18:05:53.183016+00');
INSERT INTO auth_user VALUES ('10', 'pbkdf2_sha256$1000000$ATdCkEsEgPPRgr37Ls0NGH$ULm9qFyBbCxzOjVoC2BaWnschU1GXcLcCWQC2+lo0mc=', NULL, 'false', 'carl', '', '', 'carl@example.test', 'true', 'true', '2026-11-27 18:05:53.41175+00');
INSERT INTO auth_user VALUES ('11', '!xDj0cWqzG141I0sbrkKjAdIe2MBAOF8quEpJrKmO', NULL, 'false', 'unusable', '', '', 'unusable@example.test', 'false', 'true', '2026-11-27 18:05:53.415431+00');
CREATE TABLE auth_group (
  "id" integer NOT NULL,
  "name" character varying(150) NOT NULL
);
INSERT INTO auth_group VALUES ('1', 'editors');
INSERT INTO auth_group VALUES ('2', 'Readers of reports');
CREATE TABLE auth_user_groups (
  "id" bigint NOT NULL,
  "user_id" integer NOT NULL,
  "group_id" integer NOT NULL
);
INSERT INTO auth_user_groups VALUES ('1', '8', '1');
INSERT INTO auth_user_groups VALUES ('2', '8', '2');
INSERT INTO auth_user_groups VALUES ('3', '9', '1');
CREATE TABLE auth_permission (
  "id" integer NOT NULL,
  "name" character varying(255) NOT NULL,
  "content_type_id" integer NOT NULL,
  "codename" character varying(100) NOT NULL
);
INSERT INTO auth_permission VALUES ('1', 'Can add permission', '1', 'add_permission');
INSERT INTO auth_permission VALUES ('2', 'Can change permission', '1', 'change_permission');
INSERT INTO auth_permission VALUES ('3', 'Can delete permission', '1', 'delete_permission');
INSERT INTO auth_permission VALUES ('4', 'Can view permission', '1', 'view_permission');
INSERT INTO auth_permission VALUES ('5', 'Can add group', '2', 'add_group');
INSERT INTO auth_permission VALUES ('6', 'Can change group', '2', 'change_group');
INSERT INTO auth_permission VALUES ('7', 'Can delete group', '2', 'delete_group');
INSERT INTO auth_permission VALUES ('8', 'Can view group', '2', 'view_group');
INSERT INTO auth_permission VALUES ('9', 'Can add user', '3', 'add_user');
INSERT INTO auth_permission VALUES ('10', 'Can change user', '3', 'change_user');
INSERT INTO auth_permission VALUES ('11', 'Can delete user', '3', 'delete_user');
INSERT INTO auth_permission VALUES ('12', 'Can view user', '3', 'view_user');
INSERT INTO auth_permission VALUES ('13', 'Can add content type', '4', 'add_contenttype');
INSERT INTO auth_permission VALUES ('14', 'Can change content type', '4', 'change_contenttype');
INSERT INTO auth_permission VALUES ('15', 'Can delete content type', '4', 'delete_contenttype');
INSERT INTO auth_permission VALUES ('16', 'Can view content type', '4', 'view_contenttype');
INSERT INTO auth_permission VALUES ('17', 'Can add application', '5', 'add_application');
INSERT INTO auth_permission VALUES ('18', 'Can change application', '5', 'change_application');
INSERT INTO auth_permission VALUES ('19', 'Can delete application', '5', 'delete_application');
INSERT INTO auth_permission VALUES ('20', 'Can view application', '5', 'view_application');
INSERT INTO auth_permission VALUES ('21', 'Can add access token', '6', 'add_accesstoken');
INSERT INTO auth_permission VALUES ('22', 'Can change access token', '6', 'change_accesstoken');
INSERT INTO auth_permission VALUES ('23', 'Can delete access token', '6', 'delete_accesstoken');
INSERT INTO auth_permission VALUES ('24', 'Can view access token', '6', 'view_accesstoken');
INSERT INTO auth_permission VALUES ('25', 'Can add grant', '7', 'add_grant');
INSERT INTO auth_permission VALUES ('26', 'Can change grant', '7', 'change_grant');
INSERT INTO auth_permission VALUES ('27', 'Can delete grant', '7', 'delete_grant');
INSERT INTO auth_permission VALUES ('28', 'Can view grant', '7', 'view_grant');
INSERT INTO auth_permission VALUES ('29', 'Can add refresh token', '8', 'add_refreshtoken');
INSERT INTO auth_permission VALUES ('30', 'Can change refresh token', '8', 'change_refreshtoken');
INSERT INTO auth_permission VALUES ('31', 'Can delete refresh token', '8', 'delete_refreshtoken');
INSERT INTO auth_permission VALUES ('32', 'Can view refresh token', '8', 'view_refreshtoken');
INSERT INTO auth_permission VALUES ('33', 'Can add id token', '9', 'add_idtoken');
INSERT INTO auth_permission VALUES ('34', 'Can change id token', '9', 'change_idtoken');
INSERT INTO auth_permission VALUES ('35', 'Can delete id token', '9', 'delete_idtoken');
INSERT INTO auth_permission VALUES ('36', 'Can view id token', '9', 'view_idtoken');
INSERT INTO auth_permission VALUES ('37', 'Can add device grant', '10', 'add_devicegrant');
INSERT INTO auth_permission VALUES ('38', 'Can change device grant', '10', 'change_devicegrant');
INSERT INTO auth_permission VALUES ('39', 'Can delete device grant', '10', 'delete_devicegrant');
INSERT INTO auth_permission VALUES ('40', 'Can view device grant', '10', 'view_devicegrant');
CREATE TABLE auth_user_user_permissions (
  "id" bigint NOT NULL,
  "user_id" integer NOT NULL,
  "permission_id" integer NOT NULL
);
INSERT INTO auth_user_user_permissions VALUES ('1', '10', '12');
CREATE TABLE auth_group_permissions (
  "id" bigint NOT NULL,
  "group_id" integer NOT NULL,
  "permission_id" integer NOT NULL
);
INSERT INTO auth_group_permissions VALUES ('1', '1', '10');
CREATE TABLE django_content_type (
  "id" integer NOT NULL,
  "app_label" character varying(100) NOT NULL,
  "model" character varying(100) NOT NULL
);
INSERT INTO django_content_type VALUES ('1', 'auth', 'permission');
INSERT INTO django_content_type VALUES ('2', 'auth', 'group');
INSERT INTO django_content_type VALUES ('3', 'auth', 'user');
INSERT INTO django_content_type VALUES ('4', 'contenttypes', 'contenttype');
INSERT INTO django_content_type VALUES ('5', 'oauth2_provider', 'application');
INSERT INTO django_content_type VALUES ('6', 'oauth2_provider', 'accesstoken');
INSERT INTO django_content_type VALUES ('7', 'oauth2_provider', 'grant');
INSERT INTO django_content_type VALUES ('8', 'oauth2_provider', 'refreshtoken');
INSERT INTO django_content_type VALUES ('9', 'oauth2_provider', 'idtoken');
INSERT INTO django_content_type VALUES ('10', 'oauth2_provider', 'devicegrant');
CREATE TABLE oauth2_provider_application (
  "id" bigint NOT NULL,
  "client_id" character varying(255) NOT NULL,
  "redirect_uris" text NOT NULL,
  "client_type" character varying(32) NOT NULL,
  "authorization_grant_type" character varying(44) NOT NULL,
  "client_secret" character varying(255) NOT NULL,
  "name" character varying(255) NOT NULL,
  "user_id" integer,
  "skip_authorization" boolean NOT NULL,
  "created" timestamp with time zone NOT NULL,
  "updated" timestamp with time zone NOT NULL,
  "algorithm" character varying(5) NOT NULL,
  "post_logout_redirect_uris" text NOT NULL,
  "hash_client_secret" boolean NOT NULL,
  "allowed_origins" text NOT NULL,
  "registration_source" character varying(32) NOT NULL,
  "cimd_expires_at" timestamp with time zone
);
INSERT INTO oauth2_provider_application VALUES ('1', 'client-of-web', '', 'confidential', 'password', 'pbkdf2_sha256$1000000$Kf7f9dbaltSSB1NmPg6Poe$JRKmLzWvrtOSp3BvhXsRhqzhSj4WMI765yYO3UTJFtM=', 'The web', '8', 'false', '2026-11-27 18:05:53.64687+00', '2026-11-27 18:05:53.646901+00', '', '', 'true', '', 'manual', NULL);
INSERT INTO oauth2_provider_application VALUES ('2', 'client-of-readable', '', 'confidential', 'password', 'test-secret-of-readable', 'The readable', '8', 'false', '2026-11-27 18:05:53.648723+00', '2026-11-27 18:05:53.648732+00', '', '', 'false', '', 'manual', NULL);
INSERT INTO oauth2_provider_application VALUES ('3', 'client-of-phone', '', 'public', 'password', 'pbkdf2_sha256$1000000$a84GB0mHxriAG7V1YEOMoz$DvWO6JubjsgraAE9e9gy5gcFUQIHa+KikJ2pXEr/Fto=', 'The phone', '8', 'false', '2026-11-27 18:05:53.877603+00', '2026-11-27 18:05:53.87763+00', '', '', 'true', '', 'manual', NULL);
INSERT INTO oauth2_provider_application VALUES ('4', 'client-of-page', 'https://app.example.test/callback', 'confidential', 'authorization-code', 'pbkdf2_sha256$1000000$t5bRfKwRO12kmu54pbtuin$VfBJ4giL2KjDiWnetmleLx78dHWfM5Ltl5jzGVAu/fg=', 'The page', '8', 'false', '2026-11-27 18:05:54.102577+00', '2026-11-27 18:05:54.102621+00', '', '', 'true', '', 'manual', NULL);
INSERT INTO oauth2_provider_application VALUES ('5', 'client-of-machine', '', 'confidential', 'client-credentials', 'pbkdf2_sha256$1000000$NZZjEyzuhncGbKTXH55XJP$v439OZPqNVbCG+YCi6C5klVWZjydrwRBU5LkaYwI6YA=', 'The machine', '8', 'false', '2026-11-27 18:05:54.334434+00', '2026-11-27 18:05:54.334464+00', '', '', 'true', '', 'manual', NULL);
