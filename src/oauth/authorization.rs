//! Scope and audience, decided together so that no token is ambiguous (RFC 6749 §3.3, RFC 8707 §2, RFC 9068 §3).

use super::client::{Audience, ClientSettings};
use super::error::Reason;
use super::parameter::Parameter;
use super::parameters::Parameters;
use super::scope::Scope;

/// The requested scope and audiences, checked against what the client may have. [`Self::limit_to`] checks the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    scope: Scope,
    /// Whether the client named the scope. If so, it gets all of it or nothing.
    explicit: bool,
    audiences: Vec<Audience>,
}

/// What a login grants. No token of its session can have more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Never empty.
    pub scope: Scope,
    /// Never empty.
    pub audiences: Vec<Audience>,
}

/// The scope and audiences of one access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorized {
    /// Never empty.
    pub scope: Scope,
    /// Never empty.
    pub audiences: Vec<Audience>,
}

impl Requested {
    /// Reads `scope` and `resource`, and checks them against the client's registration.
    ///
    /// # Errors
    /// A reason with the code `invalid_scope` or `invalid_target`.
    pub fn read(form: &Parameters, client: &ClientSettings) -> Result<Self, Reason> {
        Self::decide(read_scope(form)?, read_resources(form)?, client)
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
        if !resources.iter().all(|resource| client.audiences.contains(resource)) {
            return Err(Reason::ResourceNotAllowed);
        }
        authorize(&scope, &resources, client)?;
        Ok(Self { scope, explicit, audiences: resources })
    }

    /// Limits the scope to what the user may have; `None` is no limit. `withheld` needs a second factor, which was not
    /// used.
    ///
    /// # Errors
    /// [`Reason::ScopeNeedsSecondFactor`] if the client named some of `withheld`,
    /// [`Reason::ScopeNotAllowedForUser`] if the client named a scope that the user may not have all of,
    /// [`Reason::EmptyScope`] if nothing of the default scope remains.
    pub fn limit_to(self, user: Option<&Scope>, withheld: &Scope) -> Result<Granted, Reason> {
        let is_free = |token: &str| !withheld.contains(token);
        if self.explicit && !self.scope.tokens().all(is_free) {
            return Err(Reason::ScopeNeedsSecondFactor);
        }
        let scope = match user {
            None => self.scope,
            Some(allowed) if self.explicit && !self.scope.is_within(allowed) => {
                return Err(Reason::ScopeNotAllowedForUser);
            }
            Some(allowed) => self.scope.filter(|token| allowed.contains(token)),
        };
        let scope = scope.filter(is_free);
        if scope.is_empty() {
            return Err(Reason::EmptyScope);
        }
        Ok(Granted { scope, audiences: self.audiences })
    }
}

impl Granted {
    /// The scope and audiences of the login's own token.
    ///
    /// # Errors
    /// [`Reason::EmptyScope`] if no scope token means something at every audience.
    pub fn whole(&self, client: &ClientSettings) -> Result<Authorized, Reason> {
        authorize(&self.scope, &self.audiences, client)
    }

    /// The scope and audiences of a refreshed token: at most what was granted (RFC 6749 §6, RFC 8707 §2.2), without
    /// what client or user have lost since, and without `withheld`, which needs a second factor that the session has not
    /// used.
    ///
    /// # Errors
    /// A reason with the code `invalid_scope` or `invalid_target`.
    pub fn narrow(
        &self,
        form: &Parameters,
        client: &ClientSettings,
        user: Option<&Scope>,
        withheld: &Scope,
    ) -> Result<Authorized, Reason> {
        self.narrow_to(read_scope(form)?.as_ref(), read_resources(form)?, client, user, withheld)
    }

    fn narrow_to(
        &self,
        asked: Option<&Scope>,
        resources: Vec<Audience>,
        client: &ClientSettings,
        user: Option<&Scope>,
        withheld: &Scope,
    ) -> Result<Authorized, Reason> {
        let scope = asked.unwrap_or(&self.scope);
        if !scope.is_within(&self.scope) {
            return Err(Reason::ScopeNotGranted);
        }
        if !resources.iter().all(|resource| self.audiences.contains(resource)) {
            return Err(Reason::ResourceNotGranted);
        }
        let mut audiences = if resources.is_empty() { self.audiences.clone() } else { resources };
        audiences.retain(|audience| client.audiences.contains(audience));
        if audiences.is_empty() {
            return Err(Reason::ResourceNotAllowed);
        }
        let is_kept = |token: &str| {
            client.scope.contains(token)
                && !withheld.contains(token)
                && user.is_none_or(|allowed| allowed.contains(token))
        };
        authorize(&scope.filter(is_kept), &audiences, client)
    }
}

fn read_scope(form: &Parameters) -> Result<Option<Scope>, Reason> {
    form.find(Parameter::Scope).map(|text| Scope::parse(text.expose())).transpose()
}

/// Reads `resource` and drops repeated values.
fn read_resources(form: &Parameters) -> Result<Vec<Audience>, Reason> {
    let mut resources = Vec::new();
    for text in form.resources() {
        let resource = Audience::from_resource(text)?;
        if !resources.contains(&resource) {
            resources.push(resource);
        }
    }
    Ok(resources)
}

/// Leaves out scope tokens that do not mean something at every audience (RFC 9068 §2.2.3). The response says so.
fn authorize(
    scope: &Scope,
    audiences: &[Audience],
    client: &ClientSettings,
) -> Result<Authorized, Reason> {
    let scope =
        scope.filter(|token| audiences.iter().all(|audience| has_meaning(token, audience, client)));
    if scope.is_empty() {
        return Err(Reason::EmptyScope);
    }
    Ok(Authorized { scope, audiences: audiences.to_vec() })
}

/// The first audience at which every scope token means something (RFC 9068 §3): the default one for unbound tokens.
fn derive_audience(scope: &Scope, client: &ClientSettings) -> Result<Audience, Reason> {
    client
        .audiences
        .iter()
        .find(|audience| scope.tokens().all(|token| has_meaning(token, audience, client)))
        .cloned()
        .ok_or(Reason::AmbiguousScope)
}

/// Whether a scope token is bound to this audience, or to none.
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

    fn scope(text: &str) -> Option<Scope> {
        (!text.is_empty()).then(|| text.parse().expect("a valid scope"))
    }

    fn say(outcome: Result<Authorized, Reason>) -> Result<String, Reason> {
        let Authorized { scope, audiences } = outcome?;
        let audiences: Vec<_> = audiences.iter().map(Audience::as_str).collect();
        Ok(format!("{scope} @ {}", audiences.join(" ")))
    }

    fn outcome(asked: &str, resources: &[&str], user: Option<&str>) -> Result<String, Reason> {
        let resources = resources.iter().copied().map(audience).collect();
        let user = user.map(|text| text.parse::<Scope>().expect("a valid scope"));
        let requested = Requested::decide(scope(asked), resources, &client())?;
        say(requested.limit_to(user.as_ref(), &Scope::default())?.whole(&client()))
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

    #[test]
    fn a_refresh_yields_no_more_than_was_granted_and_nothing_that_was_withdrawn() {
        let granted = Granted {
            scope: "read write api1.read api2.read".parse().expect("a valid scope"),
            audiences: vec![audience("https://api1"), audience("https://api2")],
        };
        let narrow = |asked: &str, resources: &[&str], user: &str| {
            let resources = resources.iter().copied().map(audience).collect();
            say(granted.narrow_to(
                scope(asked).as_ref(),
                resources,
                &client(),
                scope(user).as_ref(),
                &Scope::default(),
            ))
        };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(narrow("", &[], ""), ok("read write @ https://api1 https://api2"));
        assert_eq!(narrow("read", &[], ""), ok("read @ https://api1 https://api2"));
        assert_eq!(narrow("", &["https://api2"], ""), ok("read write api2.read @ https://api2"));
        assert_eq!(narrow("api1.read", &["https://api1"], ""), ok("api1.read @ https://api1"));
        assert_eq!(narrow("", &["https://api1"], "read"), ok("read @ https://api1"));
        assert_eq!(narrow("read write", &["https://api1"], "read"), ok("read @ https://api1"));
        assert_eq!(narrow("write", &[], "read"), Err(Reason::EmptyScope));
        assert_eq!(narrow("read admin", &[], ""), Err(Reason::ScopeNotGranted));
        assert_eq!(narrow("", &["https://api3"], ""), Err(Reason::ResourceNotGranted));
        let less = ClientSettings {
            scope: "read".parse().expect("a valid scope"),
            audiences: vec![audience("https://api2")],
            ..client()
        };
        let narrow = |resources| granted.narrow_to(None, resources, &less, None, &Scope::default());
        assert_eq!(say(narrow(vec![])), ok("read @ https://api2"));
        assert_eq!(say(narrow(vec![audience("https://api1")])), Err(Reason::ResourceNotAllowed));
    }
}
