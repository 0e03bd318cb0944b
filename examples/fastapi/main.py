"""A resource server: it verifies the tokens of Jeton by itself, and never sees a password."""

import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, Security
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

ISSUER = os.environ["ISSUER"]
AUDIENCE = os.environ["AUDIENCE"]
# The claims that RFC 9068 §2.2 requires, and those that this API cannot do without.
REQUIRED = ["iss", "aud", "exp", "iat", "sub", "client_id", "jti", "scope", "preferred_username"]
# The public client as which /docs asks for tokens.
CLIENT_ID = os.environ["CLIENT_ID"]
# Where this API gets the keys, if it reaches Jeton under another name than its callers do.
JWKS_URI = os.environ.get("JWKS_URI", f"{ISSUER}/.well-known/jwks.json")
# A folder with the files of swagger-ui-dist. Without it the browser gets them from FastAPI's CDN.
SWAGGER_UI = os.environ.get("SWAGGER_UI")

app = FastAPI(title="Items", docs_url=None)
bearer = OAuth2PasswordBearer(
    tokenUrl=f"{ISSUER}/token",
    refreshUrl=f"{ISSUER}/token",
    scopes={"me": "See who you are", "items": "See your items"},
)
# Keeps the key set for 5 minutes, and asks for an unknown key every 30 seconds at most.
keys = jwt.PyJWKClient(JWKS_URI, timeout=5)


class Caller(BaseModel):
    """What a verified token says about the user for whom a request is made."""

    sub: str
    preferred_username: str
    roles: list[str] = []
    scope: str


def refuse(status: int, error: str, description: str, **more: str) -> HTTPException:
    """The answer of RFC 6750 §3 to a token that is not good enough."""
    fields = {"error": error, "error_description": description, **more}
    challenge = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    return HTTPException(status, description, {"WWW-Authenticate": f"Bearer {challenge}"})


def read_token(token: Annotated[str, Depends(bearer)]) -> Caller:
    """Verifies an access token as RFC 9068 §4 asks."""
    try:
        verified = jwt.decode_complete(
            token,
            keys.get_signing_key_from_jwt(token),
            algorithms=["RS256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": REQUIRED},
        )
    except jwt.PyJWKClientConnectionError as error:
        raise HTTPException(503, "The keys of the token service cannot be read.") from error
    except jwt.PyJWTError as error:
        raise refuse(401, "invalid_token", "The token is not valid, or not any more.") from error
    if verified["header"].get("typ") != "at+jwt":
        raise refuse(401, "invalid_token", "The token is not an access token.")
    return Caller(**verified["payload"])


def with_scope(needed: SecurityScopes, caller: Annotated[Caller, Depends(read_token)]) -> Caller:
    if not set(needed.scopes) <= set(caller.scope.split()):
        description = "The token does not have the scope."
        raise refuse(403, "insufficient_scope", description, scope=needed.scope_str)
    return caller


def admin(caller: Annotated[Caller, Security(with_scope, scopes=["items"])]) -> Caller:
    if "admin" not in caller.roles:
        raise refuse(403, "insufficient_scope", "The user does not have the role.")
    return caller


@app.get("/users/me")
def read_me(caller: Annotated[Caller, Security(with_scope, scopes=["me"])]) -> Caller:
    return caller


@app.get("/users/me/items")
def read_items(caller: Annotated[Caller, Security(with_scope, scopes=["items"])]) -> list[dict]:
    return [{"item": "lamp", "owner": caller.preferred_username}]


@app.get("/items")
def read_all_items(_: Annotated[Caller, Depends(admin)]) -> list[dict]:
    return [{"item": "lamp", "owner": "johndoe"}, {"item": "fern", "owner": "alice"}]


@app.get("/docs", include_in_schema=False)
def docs():
    assets = {
        "swagger_js_url": "/swagger-ui/swagger-ui-bundle.js",
        "swagger_css_url": "/swagger-ui/swagger-ui.css",
        "swagger_favicon_url": "/swagger-ui/favicon-32x32.png",
    }
    return get_swagger_ui_html(
        openapi_url=app.openapi_url,
        title=app.title,
        init_oauth={"clientId": CLIENT_ID, "scopes": "me"},
        **(assets if SWAGGER_UI else {}),
    )


if SWAGGER_UI:
    app.mount("/swagger-ui", StaticFiles(directory=SWAGGER_UI))
