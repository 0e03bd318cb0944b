"""django-oauth-toolkit at its defaults on SQLite, with OpenID Connect on so that it has a JWKS.

PEERS_EQUAL replaces Django's PBKDF2 by Django's scrypt with the cost that Jeton has by default. By default the
client's secret is hashed as a password is, and a refresh has to verify it.
"""

import os
import secrets
import sys

import django
from django.conf import settings
from django.contrib.auth.hashers import ScryptPasswordHasher

import common

FOLDER = os.environ["PEERS_FOLDER"]
KEY = os.path.join(FOLDER, "rsa.pem")


class EqualCost(ScryptPasswordHasher):
    work_factor, block_size, parallelism, maxmem = 1 << common.LN, common.R, common.P, 256 << 20


settings.configure(
    SECRET_KEY=secrets.token_hex(),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{FOLDER}/django.db"}},
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": open(KEY).read(),
        "SCOPES": {"read": "Read", "introspection": "Introspect"},
    },
    **({"PASSWORD_HASHERS": [f"{__name__}.EqualCost"]} if os.environ.get("PEERS_EQUAL") else {}),
)
# Under gunicorn this module has its own name, under `python` another: the URLs below are found by either.
sys.modules.setdefault("django_toolkit", sys.modules[__name__])
django.setup()

from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import include, path  # noqa: E402

urlpatterns = [path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]
application = get_wsgi_application()


def set_up():
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User
    from oauth2_provider.models import Application

    call_command("migrate", verbosity=0)
    stored = make_password(common.PASSWORD)
    for name in common.users():
        User.objects.create(username=name, password=stored)
    Application.objects.create(
        name="web", client_id=common.CLIENT[0], client_secret=common.CLIENT[1],
        client_type=Application.CLIENT_CONFIDENTIAL, authorization_grant_type=Application.GRANT_PASSWORD)


if __name__ == "__main__":
    sys.exit(set_up())
