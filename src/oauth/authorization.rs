//! What a grant yields: scope and audience, decided together so that no token is ambiguous
//! (RFC 6749 §3.3, RFC 8707 §2, RFC 9068 §3).

use super::client::{Audience, ClientSettings};
use super::error::Reason;
use super::parameters::{Parameter, Parameters};
use super::scope::Scope;

/// What the client asks for, as far as the client may have it. What the user may have is decided
/// once the user is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    scope: Scope,
    /// Whether the client named the scope itself: then it gets all of it or nothing.
    explicit: bool,
    audiences: Vec<Audience>,
}

/// What the token will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Never empty.
    pub scope: Scope,
    /// Never empty.
    pub audiences: Vec<Audience>,
}

impl Requested {
    /// Reads `scope` and `resource`, and holds them against the client's registration.
    ///
    /// # Errors
    /// The reasons of the `invalid_scope` and `invalid_target` kinds.
    pub fn read(form: &Parameters, client: &ClientSettings) -> Result<Self, Reason> {
        let asked =
            form.find(Parameter::Scope).map(|text| Scope::parse(text.expose())).transpose()?;
        let resources =
            form.resources().map(Audience::from_resource).collect::<Result<Vec<_>, _>>()?;
        Self::decide(asked, resources, client)
    }

    fn decide(
        asked: Option<Scope>,
        resources: Vec<Audience>,
        client: &ClientSettings,
    ) -> Result<Self, Reason> {
        let explicit = asked.is_some();
        let scope = asked.unwrap_or_else(|| client.default_scope.clone());
        if scope.is_empty() {
            return Err(Reason::NoDefaultScope);
        }
        if !scope.is_within(&client.scope) {
            return Err(Reason::ScopeNotAllowedForClient);
        }
        if resources.is_empty() {
            let audience = derive_audience(&scope, client)?;
            return Ok(Self { scope, explicit, audiences: vec![audience] });
        }
        let mut audiences: Vec<Audience> = Vec::new();
        for resource in resources {
            if !client.audiences.contains(&resource) {
                return Err(Reason::ResourceNotAllowed);
            }
            if !audiences.contains(&resource) {
                audiences.push(resource);
            }
        }
        // RFC 9068 §2.2.3: every token of the scope must mean something at every audience, so
        // what one of the resources cannot use is left out, and the response says so.
        let scope = scope
            .filter(|token| audiences.iter().all(|audience| has_meaning(token, audience, client)));
        if scope.is_empty() {
            return Err(Reason::EmptyScope);
        }
        Ok(Self { scope, explicit, audiences })
    }

    /// Cuts the request to what the user may have; `None` for a user without limits of its own.
    ///
    /// # Errors
    /// [`Reason::ScopeNotAllowedForUser`] if the client asked for what this user may not have,
    /// [`Reason::EmptyScope`] if nothing of a default remains.
    pub fn limit_to(self, user: Option<&Scope>) -> Result<Granted, Reason> {
        let scope = match user {
            None => self.scope,
            Some(allowed) if self.explicit && !self.scope.is_within(allowed) => {
                return Err(Reason::ScopeNotAllowedForUser);
            }
            Some(allowed) => self.scope.filter(|token| allowed.contains(token)),
        };
        if scope.is_empty() {
            return Err(Reason::EmptyScope);
        }
        Ok(Granted { scope, audiences: self.audiences })
    }
}

/// The first audience at which all of the scope means something (RFC 9068 §3): the client's
/// default one if the scope is not bound to any.
fn derive_audience(scope: &Scope, client: &ClientSettings) -> Result<Audience, Reason> {
    client
        .audiences
        .iter()
        .find(|audience| scope.tokens().all(|token| has_meaning(token, audience, client)))
        .cloned()
        .ok_or(Reason::AmbiguousScope)
}

/// A token means something at an audience if it is bound to it, or to none.
fn has_meaning(token: &str, audience: &Audience, client: &ClientSettings) -> bool {
    let bound = |scope: &Scope| scope.contains(token);
    client.audience_scopes.get(audience).is_some_and(bound)
        || !client.audience_scopes.values().any(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(text: &str) -> Audience {
        text.parse().expect("a valid audience")
    }

    fn client() -> ClientSettings {
        let scope = |text: &str| text.parse::<Scope>().expect("a valid scope");
        ClientSettings {
            scope: scope("read write api1.read api2.read"),
            default_scope: scope("read write"),
            audiences: vec![audience("https://api1"), audience("https://api2")],
            audience_scopes: [
                (audience("https://api1"), scope("api1.read")),
                (audience("https://api2"), scope("api2.read")),
            ]
            .into(),
            ..ClientSettings::default()
        }
    }

    fn outcome(asked: &str, resources: &[&str], user: Option<&str>) -> Result<String, Reason> {
        let asked = if asked.is_empty() { None } else { Some(Scope::parse(asked)?) };
        let resources = resources.iter().copied().map(audience).collect();
        let user = user.map(|text| text.parse::<Scope>().expect("a valid scope"));
        let granted = Requested::decide(asked, resources, &client())?.limit_to(user.as_ref())?;
        let audiences: Vec<_> = granted.audiences.iter().map(Audience::as_str).collect();
        Ok(format!("{} @ {}", granted.scope, audiences.join(" ")))
    }

    #[test]
    fn scope_and_audience_are_decided_together() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(outcome("", &[], None), ok("read write @ https://api1"));
        assert_eq!(outcome("api2.read read", &[], None), ok("api2.read read @ https://api2"));
        assert_eq!(outcome("api1.read api2.read", &[], None), Err(Reason::AmbiguousScope));
        assert_eq!(outcome("read api1.read", &["https://api2"], None), ok("read @ https://api2"));
        assert_eq!(
            outcome("read api1.read", &["https://api2", "https://api1"], None),
            ok("read @ https://api2 https://api1")
        );
        assert_eq!(outcome("api1.read", &["https://api2"], None), Err(Reason::EmptyScope));
        assert_eq!(outcome("read", &["https://api3"], None), Err(Reason::ResourceNotAllowed));
        assert_eq!(outcome("admin", &[], None), Err(Reason::ScopeNotAllowedForClient));
        assert_eq!(outcome("write", &[], Some("read")), Err(Reason::ScopeNotAllowedForUser));
        assert_eq!(outcome("", &[], Some("read")), ok("read @ https://api1"));
        assert_eq!(outcome("", &[], Some("")), Err(Reason::EmptyScope));
    }
}
