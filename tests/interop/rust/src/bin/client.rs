//! A client that uses the crate `oauth2`. Its argument says who it is; each line read is something to do,
//! each line written what came of it: what the crate made of the answer, or `error` and `kind`.

use std::io::{self, Write};
use std::sync::Arc;

use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::{
    AccessToken, AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, ErrorResponse,
    ErrorResponseType, HttpRequest, HttpResponse, IntrospectionUrl, RefreshToken,
    RequestTokenError, ResourceOwnerPassword, ResourceOwnerUsername, RevocationUrl, Scope,
    StandardErrorResponse, TokenUrl,
};
use rustls::crypto::aws_lc_rs;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

type Client = BasicClient<EndpointNotSet, EndpointNotSet, EndpointSet, EndpointSet, EndpointSet>;

#[derive(Deserialize)]
struct Identity {
    issuer: String,
    /// The file of the certificate that signed the service's.
    authority: String,
    method: String,
    client_id: String,
    client_secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
enum Act {
    LogIn { username: String, password: String, scope: Option<String> },
    Refresh { refresh_token: String, scope: Option<String> },
    Introspect { token: String },
    Revoke { token: String, token_type_hint: String },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let identity = std::env::args().nth(1).ok_or("who am I?")?;
    let identity: Identity = serde_json::from_str(&identity)?;
    let agent = agent(&std::fs::read(&identity.authority)?)?;
    let client = client(identity)?;
    for line in io::stdin().lines() {
        let outcome = perform(&client, &agent, serde_json::from_str(&line?)?);
        writeln!(io::stdout(), "{}", outcome.unwrap_or_else(|refusal| refusal))?;
    }
    Ok(())
}

fn agent(authority: &[u8]) -> Result<Agent, ureq::Error> {
    let authority = Certificate::from_pem(authority)?;
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[authority]))
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()));
    // The crate reads answers with an error status itself.
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .max_redirects(0)
        .http_status_as_error(false);
    Ok(config.build().new_agent())
}

fn client(identity: Identity) -> Result<Client, Box<dyn std::error::Error>> {
    let Identity { issuer, method, .. } = identity;
    let client = BasicClient::new(ClientId::new(identity.client_id))
        .set_token_uri(TokenUrl::new(format!("{issuer}/token"))?)
        .set_introspection_url(IntrospectionUrl::new(format!("{issuer}/introspect"))?)
        .set_revocation_url(RevocationUrl::new(format!("{issuer}/revoke"))?)
        .set_auth_type(match method.as_str() {
            "client_secret_post" => AuthType::RequestBody,
            _ => AuthType::BasicAuth,
        });
    Ok(match identity.client_secret {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret)),
        None => client,
    })
}

fn perform(client: &Client, agent: &Agent, act: Act) -> Result<Value, Value> {
    let http = |request| send(agent, request);
    match act {
        Act::LogIn { username, password, scope } => {
            let username = ResourceOwnerUsername::new(username);
            let password = ResourceOwnerPassword::new(password);
            let request = client.exchange_password(&username, &password).add_scopes(values(scope));
            told(request.request(&http))
        }
        Act::Refresh { refresh_token, scope } => {
            let refresh_token = RefreshToken::new(refresh_token);
            let request = client.exchange_refresh_token(&refresh_token).add_scopes(values(scope));
            told::<BasicTokenResponse, _>(request.request(&http))
        }
        Act::Introspect { token } => {
            told(client.introspect(&AccessToken::new(token)).request(&http))
        }
        Act::Revoke { token, token_type_hint } => {
            let token = match token_type_hint.as_str() {
                "access_token" => AccessToken::new(token).into(),
                _ => RefreshToken::new(token).into(),
            };
            let request = client.revoke_token(token).map_err(|problem| failure(&problem))?;
            told(request.request(&http))
        }
    }
}

fn values(scope: Option<String>) -> Vec<Scope> {
    let values = scope.unwrap_or_default();
    values
        .split(' ')
        .filter(|value| !value.is_empty())
        .map(|value| Scope::new(value.into()))
        .collect()
}

fn send(agent: &Agent, request: HttpRequest) -> Result<HttpResponse, ureq::Error> {
    let (parts, mut content) = agent.run(request)?.into_parts();
    Ok(HttpResponse::from_parts(parts, content.read_to_vec()?))
}

fn told<Answer: Serialize, Code: ErrorResponseType>(
    outcome: Result<Answer, RequestTokenError<ureq::Error, StandardErrorResponse<Code>>>,
) -> Result<Value, Value>
where
    StandardErrorResponse<Code>: ErrorResponse,
{
    match outcome {
        Ok(answer) => Ok(json!(answer)),
        Err(RequestTokenError::ServerResponse(answer)) => {
            Err(json!({ "error": answer.error(), "kind": "ServerResponse" }))
        }
        Err(other) => Err(failure(&other)),
    }
}

fn failure(problem: &dyn std::error::Error) -> Value {
    json!({ "error": problem.to_string(), "kind": "no answer" })
}
