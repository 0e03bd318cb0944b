//! Who checks the service, and how requests are made.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, Request};

use super::client::{Answer, Client, RequestError};
use jeton_oauth::client::ClientAuthenticationMethod::{self, ClientSecretBasic, ClientSecretPost};
use jeton_oauth::{Issuer, Secret};

/// The service to check, and who asks it for what.
pub(super) struct Visit {
    pub(super) issuer: Issuer,
    pub(super) client: Client,
    /// The client that asks for tokens.
    pub(super) caller: Option<Caller>,
    /// The resource server that introspects them.
    pub(super) introspector: Option<Caller>,
    pub(super) user: Option<User>,
    pub(super) wrong_password: bool,
    pub(super) scope: Option<String>,
    pub(super) resource: Vec<String>,
    pub(super) origin: Option<HeaderValue>,
}

/// A client that the service knows.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) id: String,
    /// `None` if it is public.
    pub(super) secret: Option<Secret>,
    pub(super) method: ClientAuthenticationMethod,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: Secret,
}

pub(super) type Pair<'a> = (&'a str, &'a str);

impl Visit {
    pub(super) async fn get(&self, path: &str) -> Result<Answer, RequestError> {
        self.get_with(path, &[]).await
    }

    pub(super) async fn get_with(
        &self,
        path: &str,
        fields: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, RequestError> {
        self.client.send(request(Method::GET, path, fields, String::new())).await
    }

    /// Posts a form, authenticated as `caller` if there is one.
    pub(super) async fn post(
        &self,
        path: &str,
        caller: Option<&Caller>,
        form: &[Pair<'_>],
    ) -> Result<Answer, RequestError> {
        self.post_with(path, caller, form, &[]).await
    }

    pub(super) async fn post_with(
        &self,
        path: &str,
        caller: Option<&Caller>,
        form: &[Pair<'_>],
        fields: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, RequestError> {
        let mut form = form.to_vec();
        let mut fields = fields.to_vec();
        match caller {
            Some(Caller { id, secret: Some(secret), method: ClientSecretBasic }) => {
                fields.push((AUTHORIZATION, basic(id, secret.expose())));
            }
            Some(Caller { id, secret: Some(secret), method: ClientSecretPost }) => {
                form.extend([("client_id", id.as_str()), ("client_secret", secret.expose())]);
            }
            Some(Caller { id, secret: None, .. }) => form.push(("client_id", id)),
            None => {}
        }
        let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        fields.push((CONTENT_TYPE, media_type));
        let content = serde_urlencoded::to_string(&form).expect("pairs of texts are a form");
        self.client.send(request(Method::POST, path, &fields, content)).await
    }
}

pub(super) fn request(
    method: Method,
    path: &str,
    fields: &[(HeaderName, HeaderValue)],
    content: String,
) -> Request<String> {
    let mut request = Request::new(content);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("the path of an issuer is that of a URL");
    request.headers_mut().extend(fields.iter().cloned());
    request
}

/// `Authorization` of a client. Both halves are form-encoded (RFC 6749 §2.3.1).
pub(super) fn basic(id: &str, secret: &str) -> HeaderValue {
    let encode = |text: &str| {
        let pair = serde_urlencoded::to_string([("", text)]).expect("a text is a form");
        pair.trim_start_matches('=').to_owned()
    };
    let credentials = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
    let mut value =
        HeaderValue::from_str(&format!("Basic {credentials}")).expect("base64 is printable");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6749 §2.3.1.
    #[test]
    fn credentials_are_encoded_before_they_are_joined() {
        assert_eq!(basic("web", "a:b%"), format!("Basic {}", STANDARD.encode("web:a%3Ab%25")));
        assert_eq!(basic("nobody", ""), format!("Basic {}", STANDARD.encode("nobody:")));
    }
}
