"""Sign-up and change of password: an API that lets the command line of Jeton do both."""

import json
import os
import subprocess
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, SecretStr
from tutorial_moved import read_token

CLIENT_ID = os.environ.get("CLIENT_ID", "web-app")
# What the exit codes of jeton mean for a caller.
STATUS = {2: 422, 3: 404, 4: 409, 5: 422, 6: 503}

app = FastAPI(title="Sign-up")


class SignUp(BaseModel):
    username: str
    password: SecretStr


class PasswordChange(BaseModel):
    current_password: SecretStr
    new_password: SecretStr


def jeton(*arguments: str, name: str, lines: list[SecretStr]) -> dict:
    """Runs a command about a user. Passwords go to its standard input, where no other process can read them."""
    secrets = [line.get_secret_value() for line in lines]
    if any("\n" in secret or "\r" in secret for secret in secrets):
        raise HTTPException(422, "A password has no line ends")
    # Behind the two hyphens a name is no option, whatever it begins with.
    done = subprocess.run(
        ["jeton", *arguments, "--json", "--as", "sign-up", "--", name],
        input="".join(f"{secret}\n" for secret in secrets),
        capture_output=True,
        text=True,
        timeout=30,
    )
    if done.returncode == 0:
        return json.loads(done.stdout)
    error = json.loads(done.stderr.splitlines()[-1])
    status = STATUS.get(done.returncode, 500)
    # What went wrong here is for the log, and not for a caller.
    raise HTTPException(status, error["message"] if status != 500 else "It failed")


@app.post("/users", status_code=201)
def sign_up(new: SignUp) -> dict:
    """Adds a user, and never changes one who is there."""
    options = ["--password-stdin", "--scope", "api"]
    return jeton("user", "add", *options, name=new.username, lines=[new.password])


@app.put("/users/me/password", status_code=204)
def change_password(change: PasswordChange, username: Annotated[str, Depends(read_token)]) -> None:
    """Changes the password of the caller, who must know the present one. All sessions end."""
    options = ["--current-stdin", "--client", CLIENT_ID]
    lines = [change.current_password, change.new_password]
    jeton("user", "passwd", *options, name=username, lines=lines)
