"""tutorial.py on its way: it takes its own tokens and those of Jeton."""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher
from pydantic import BaseModel

DATABASE = os.environ.get("APP_DATABASE", "app.db")
SECRET_KEY = os.environ["SECRET_KEY"]
LIFETIME = timedelta(minutes=30)
ISSUER = os.environ["ISSUER"]
AUDIENCE = os.environ["AUDIENCE"]
# Where /docs asks for tokens: here, or at Jeton.
TOKEN_URL = os.environ.get("TOKEN_URL", "token")

app = FastAPI(title="Tutorial", swagger_ui_init_oauth={"clientId": "web-app"})
bearer = OAuth2PasswordBearer(tokenUrl=TOKEN_URL)
keys = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json", timeout=5)
# The tutorial hashed with bcrypt, and hashes with Argon2 now.
passwords = PasswordHash((Argon2Hasher(), BcryptHasher()))
DECOY = passwords.hash("no password")


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
    """The name of the user whom a token is about. Each kind is verified with its own key alone."""
    try:
        if jwt.get_unverified_header(token).get("alg") == "HS256":
            return jwt.decode(token, SECRET_KEY, algorithms=["HS256"])["sub"]
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


@app.post("/token")
def log_in(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict:
    user = find_user(form.username)
    is_right = passwords.verify(form.password, user["hashed_password"] if user else DECOY)
    if user is None or not is_right:
        raise refuse("Incorrect username or password")
    claims = {"sub": form.username, "exp": datetime.now(UTC) + LIFETIME}
    token = jwt.encode(claims, SECRET_KEY, algorithm="HS256")
    return {"access_token": token, "token_type": "bearer"}


@app.get("/users/me")
def read_me(user: Annotated[User, Depends(current_user)]) -> User:
    return user
