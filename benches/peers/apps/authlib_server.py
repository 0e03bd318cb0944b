"""Authlib's authorization server on Flask and SQLite, with the models of its own integration.

Passwords are hashed by Werkzeug, which Flask stands on. PEERS_EQUAL gives them the cost that Jeton's have.
Access and refresh tokens are random, and a refresh replaces both.
"""

import os
import sys

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.integrations.sqla_oauth2 import (
    OAuth2ClientMixin,
    OAuth2TokenMixin,
    create_query_client_func,
    create_save_token_func,
)
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from werkzeug.security import check_password_hash, generate_password_hash

import common

db = SQLAlchemy()


class User(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    username = db.Column(db.String(40), unique=True)
    password = db.Column(db.String(200))

    def get_user_id(self):
        return self.id


class Client(db.Model, OAuth2ClientMixin):
    id = db.Column(db.Integer, primary_key=True)


class Token(db.Model, OAuth2TokenMixin):
    id = db.Column(db.Integer, primary_key=True)
    user_id = db.Column(db.Integer, db.ForeignKey("user.id"))


class PasswordGrant(grants.ResourceOwnerPasswordCredentialsGrant):
    def authenticate_user(self, username, password):
        user = User.query.filter_by(username=username).first()
        return user if user and check_password_hash(user.password, password) else None


class RefreshGrant(grants.RefreshTokenGrant):
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token):
        token = Token.query.filter_by(refresh_token=refresh_token).first()
        return token if token and not token.is_revoked() else None

    def authenticate_user(self, credential):
        return db.session.get(User, credential.user_id)

    def revoke_old_credential(self, credential):
        credential.access_token_revoked_at = credential.refresh_token_revoked_at = 1
        db.session.add(credential)
        db.session.commit()


class Introspection(IntrospectionEndpoint):
    def check_permission(self, token, client, request):
        return token.client_id == client.client_id

    def query_token(self, token_string, token_type_hint):
        return Token.query.filter_by(access_token=token_string).first()

    def introspect_token(self, token):
        return {"active": True, "client_id": token.client_id, "scope": token.scope, "sub": str(token.user_id),
                "iat": token.issued_at, "exp": token.issued_at + token.expires_in}


app = Flask(__name__)
app.config.update(
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{os.environ['PEERS_FOLDER']}/authlib.db",
    OAUTH2_REFRESH_TOKEN_GENERATOR=True,
)
db.init_app(app)
server = AuthorizationServer(
    app, create_query_client_func(db.session, Client), create_save_token_func(db.session, Token))
server.register_grant(PasswordGrant)
server.register_grant(RefreshGrant)
server.register_endpoint(Introspection)


@app.post("/token")
def token():
    return server.create_token_response()


@app.post("/introspect")
def introspect():
    return server.create_endpoint_response(Introspection.ENDPOINT_NAME)


def set_up():
    method = f"scrypt:{1 << common.LN}:{common.R}:{common.P}" if os.environ.get("PEERS_EQUAL") else "scrypt"
    with app.app_context():
        db.create_all()
        client = Client(client_id=common.CLIENT[0], client_secret=common.CLIENT[1], client_id_issued_at=0)
        client.set_client_metadata({
            "grant_types": ["password", "refresh_token"], "scope": "read",
            "token_endpoint_auth_method": "client_secret_basic"})
        stored = generate_password_hash(common.PASSWORD, method)
        db.session.add(client)
        db.session.add_all(User(username=name, password=stored) for name in common.users())
        db.session.commit()


if __name__ == "__main__":
    sys.exit(set_up())
