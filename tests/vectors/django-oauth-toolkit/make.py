"""Makes the database of a Django application with django-oauth-toolkit, by their own migrations and models, and logs every
user in at its token endpoint.

    python3 -m venv venv
    venv/bin/pip install Django==5.2.19 django-oauth-toolkit==3.4.1 argon2-cffi==25.1.0 bcrypt==5.0.0 'psycopg[binary]==3.3.9'
    venv/bin/python tests/vectors/django-oauth-toolkit/make.py postgresql://…

It writes database.sqlite3, dumpdata.json (`manage.py dumpdata`), expected.json, and postgresql.sql: the same tables as that
PostgreSQL server has them, in a database that is made for it and dropped.
"""

import base64
import json
import os
import pathlib
import sys
import uuid
from urllib.parse import urlsplit

HERE = pathlib.Path(__file__).parent
TABLES = [
    "auth_user", "auth_group", "auth_user_groups", "auth_permission", "auth_user_user_permissions",
    "auth_group_permissions", "django_content_type", "oauth2_provider_application",
]  # fmt: skip

if __name__ == "__main__" and len(sys.argv) == 2:
    # Each engine in a process of its own, since Django is configured once.
    import subprocess

    import psycopg

    (HERE / "database.sqlite3").unlink(missing_ok=True)
    name = f"django_{uuid.uuid4().hex}"
    with psycopg.connect(sys.argv[1], autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    try:
        for engine in ["sqlite3", "postgresql"]:
            subprocess.run([sys.executable, __file__, engine, sys.argv[1], name], check=True)
    finally:
        with psycopg.connect(sys.argv[1], autocommit=True) as server:
            server.execute(f"DROP DATABASE {name}")
    sys.exit()

import django
from django.conf import settings
from django.core.management import call_command
from django.urls import include, path

engine, url, name = sys.argv[1:]
if engine == "sqlite3":
    database = {"NAME": str(HERE / "database.sqlite3")}
else:
    parts = urlsplit(url)
    database = {"NAME": name, "HOST": parts.hostname, "PORT": parts.port, "USER": parts.username, "PASSWORD": parts.password}
HASHERS = {
    "pbkdf2_sha256": "PBKDF2PasswordHasher", "pbkdf2_sha1": "PBKDF2SHA1PasswordHasher", "argon2": "Argon2PasswordHasher",
    "bcrypt_sha256": "BCryptSHA256PasswordHasher", "bcrypt": "BCryptPasswordHasher", "scrypt": "ScryptPasswordHasher",
    "md5": "MD5PasswordHasher",
}  # fmt: skip
settings.configure(
    SECRET_KEY="a key of tests",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    DATABASES={"default": {"ENGINE": f"django.db.backends.{engine}", **database}},
    PASSWORD_HASHERS=[f"django.contrib.auth.hashers.{hasher}" for hasher in HASHERS.values()],
    OAUTH2_PROVIDER={"SCOPES": {"read": "Read", "write": "Write"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()
from django.contrib.auth.hashers import make_password  # noqa: E402
from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from oauth2_provider.models import AccessToken, Application, RefreshToken  # noqa: E402

urlpatterns = [path("o/", include("oauth2_provider.urls"))]
call_command("migrate", verbosity=0)
users, refused, clients = {}, {}, {}


def user(name, password=None, hasher="pbkdf2_sha256", reason=None, **members):
    roles = members.pop("roles", [])
    hash = make_password(password, hasher=hasher)
    made = User.objects.create(username=name, email=f"{name}@example.test", password=hash, **members)
    if reason:
        refused[name] = reason
    else:
        users[name] = {
            "password": password, "sub": str(made.pk), "disabled": not made.is_active, "roles": roles, "groups": [],
            "staff": made.is_staff, "superuser": made.is_superuser,
        }  # fmt: skip
    return made


def password_of(name):
    return f"test password of {name}"


for hasher in HASHERS:
    name = f"of_{hasher}"
    user(name, password_of(name), hasher, reason="MD5" if hasher == "md5" else None)
editors, readers = Group.objects.create(name="editors"), Group.objects.create(name="Readers of reports")
editors.permissions.add(Permission.objects.get(codename="change_user"))
anna = user("Anna", password_of("Anna"), is_staff=True, is_superuser=True, first_name="Anna", last_name="Groß")
anna.groups.set([editors, readers])
users["Anna"]["groups"] = ["editors", "Readers of reports"]
bert = user("bert", password_of("bert"), is_active=False)
bert.groups.add(editors)
users["bert"]["groups"] = ["editors"]
carl = user("carl", "Prüfwort, мир, 密碼", is_staff=True)
carl.user_permissions.add(Permission.objects.get(codename="view_user"))
user("unusable", reason="no password")

for name, more in {
    "web": {},
    "readable": {"hash_client_secret": False},
    "phone": {"client_type": "public", "client_secret": ""},
    "page": {"authorization_grant_type": "authorization-code", "redirect_uris": "https://app.example.test/callback"},
    "machine": {"authorization_grant_type": "client-credentials"},
}.items():
    members = {
        "client_id": f"client-of-{name}", "client_secret": f"test-secret-of-{name}", "client_type": "confidential",
        "authorization_grant_type": "password", "user": anna, **more,
    }  # fmt: skip
    Application.objects.create(name=f"The {name}", **members)
    clients[members["client_id"]] = {
        "secret": members["client_secret"] or None, "grant": members["authorization_grant_type"],
        "hashed": members.get("hash_client_secret", True),
    }  # fmt: skip


def log_in(name, password, client="client-of-web"):
    form = {"grant_type": "password", "username": name, "password": password, "client_id": client}
    headers = {}
    if clients[client]["secret"]:
        basic = base64.b64encode(f"{client}:{clients[client]['secret']}".encode()).decode()
        headers["Authorization"] = f"Basic {basic}"
    return Client().post("/o/token/", form, headers=headers).status_code


stored = dict(User.objects.values_list("username", "password"))
for name, right in users.items():
    assert (log_in(name, right["password"]) == 200) != right["disabled"], name
    assert log_in(name, right["password"] + "x") == 400
    # Django has replaced the hash, which is what it was for.
    User.objects.filter(username=name).update(password=stored[name])
for client in ["client-of-readable", "client-of-phone"]:
    assert log_in("carl", users["carl"]["password"], client) == 200
RefreshToken.objects.all().delete()
AccessToken.objects.all().delete()

if engine == "sqlite3":
    with open(HERE / "dumpdata.json", "w") as file:
        call_command("dumpdata", "auth", "oauth2_provider", indent=1, stdout=file)
    with open(HERE / "expected.json", "w") as file:
        json.dump({"users": users, "refused": refused, "clients": clients}, file, indent=1, ensure_ascii=False)
        file.write("\n")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
else:
    with connection.cursor() as cursor, open(HERE / "postgresql.sql", "w") as file:
        for table in TABLES:
            cursor.execute(
                "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                [table],
            )
            columns = cursor.fetchall()
            lines = [f'  "{column}" {of}{" NOT NULL" if needed else ""}' for column, of, needed in columns]
            file.write(f"CREATE TABLE {table} (\n" + ",\n".join(lines) + "\n);\n")
            values = ", ".join(f'quote_nullable("{column}"::text)' for column, _, _ in columns)
            cursor.execute(f"SELECT concat_ws(', ', {values}) FROM {table} ORDER BY id")
            file.writelines(f"INSERT INTO {table} VALUES ({row});\n" for (row,) in cursor.fetchall())
os._exit(0)
