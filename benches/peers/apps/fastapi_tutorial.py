"""The server of FastAPI's tutorial, «OAuth2 with Password (and hashing), Bearer with JWT tokens».

It has logins only. PEERS_EQUAL replaces its Argon2id by scrypt of the cost that Jeton has by default.
"""

import datetime
import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordRequestForm
from pwdlib import PasswordHash

import common

SECRET_KEY = os.urandom(32).hex()
ARGON2 = PasswordHash.recommended()
if os.environ.get("PEERS_EQUAL"):
    STORED, verify = common.scrypt(common.PASSWORD), common.verify_scrypt
else:
    STORED, verify = ARGON2.hash(common.PASSWORD), ARGON2.verify
USERS = {name: {"username": name, "hashed_password": STORED} for name in common.users()}

app = FastAPI()


# `async`, as in the tutorial: a hash holds up all other requests of its process.
@app.post("/token")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]):
    user = USERS.get(form.username)
    if not user or not verify(form.password, user["hashed_password"]):
        raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Bearer"})
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=30)
    token = jwt.encode({"sub": user["username"], "exp": expires}, SECRET_KEY, algorithm="HS256")
    return {"access_token": token, "token_type": "bearer"}
