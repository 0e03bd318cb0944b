"""tutorial.py after the move: it knows no password, and has no key to sign with."""

import os
import sqlite3
from contextlib import closing
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

DATABASE = os.environ.get("APP_DATABASE", "app.db")
ISSUER = os.environ["ISSUER"]
AUDIENCE = os.environ["AUDIENCE"]

app = FastAPI(title="Tutorial", swagger_ui_init_oauth={"clientId": "web-app"})
bearer = OAuth2PasswordBearer(tokenUrl=f"{ISSUER}/token")
keys = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json", timeout=5)


class User(BaseModel):
    username: str
    full_name: str


def find_user(username: str) -> dict | None:
    with closing(sqlite3.connect(DATABASE)) as database:
        database.row_factory = sqlite3.Row
        query = 'SELECT * FROM "user" WHERE username = ? AND NOT disabled'
        row = database.execute(query, [username]).fetchone()
    return row and dict(row)


def refuse(detail: str) -> HTTPException:
    return HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})


def read_token_of_jeton(token: str) -> str:
    verified = jwt.decode_complete(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=["RS256"],
        issuer=ISSUER,
        audience=AUDIENCE,
        options={"require": ["iss", "aud", "exp", "sub", "preferred_username"]},
    )
    if verified["header"].get("typ") != "at+jwt":
        raise jwt.InvalidTokenError("it is not an access token")
    return verified["payload"]["preferred_username"]


def read_token(token: Annotated[str, Depends(bearer)]) -> str:
    """The name of the user whom a token is about."""
    try:
        return read_token_of_jeton(token)
    except jwt.PyJWKClientConnectionError as error:
        raise HTTPException(503, "The keys of the token service cannot be read") from error
    except jwt.PyJWTError as error:
        raise refuse("Could not validate credentials") from error


def current_user(username: Annotated[str, Depends(read_token)]) -> User:
    user = find_user(username)
    if user is None:
        raise refuse("Could not validate credentials")
    return User(**user)


@app.get("/users/me")
def read_me(user: Annotated[User, Depends(current_user)]) -> User:
    return user
