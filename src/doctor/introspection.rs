//! Introspection (RFC 7662), requested as a resource server does.

use serde_json::{Map, Value};

use super::answer::{foreign_answer, unanswered};
use super::client::Answer;
use super::report::{Fault, Finding, fault, judge};
use super::visit::{Caller, Visit};
use jeton_oauth::Secret;
use jeton_oauth::metadata::INTROSPECTION_PATH;

/// A token that Jeton never made.
const GARBAGE: &str = "jeton-doctor-garbage";

/// What introspection says about a token.
pub(super) enum Said {
    Active(Map<String, Value>),
    Inactive,
    Nothing(Fault),
}

pub(super) async fn introspect(visit: &Visit, introspector: &Caller, token: &Secret) -> Said {
    let path = visit.issuer.endpoint_path(INTROSPECTION_PATH);
    let form = [("token", token.expose())];
    match visit.post(&path, Some(introspector), &form).await {
        Ok(answer) => read(&path, &answer, introspector),
        Err(error) => Said::Nothing(unanswered(&error)),
    }
}

fn read(path: &str, answer: &Answer, introspector: &Caller) -> Said {
    if let Some(fault) = foreign_answer(path, answer) {
        return Said::Nothing(fault);
    }
    let id = &introspector.id;
    if answer.status.as_u16() == 200
        && let Some(object) = answer.object()
    {
        match object.get("active") {
            Some(Value::Bool(true)) => return Said::Active(object),
            // RFC 7662 §2.2: the answer says nothing else about such a token.
            Some(Value::Bool(false)) if object.len() == 1 => return Said::Inactive,
            _ => {}
        }
    }
    let remedy = match answer.error_code().as_deref() {
        Some("invalid_client") if introspector.secret.is_none() => {
            format!("{id} needs a secret to ask: --introspect-secret-file FILE")
        }
        Some("invalid_client") => format!(
            "see `jeton client show {id}`: it may be unknown or disabled, or its secret another; and see \
             proxy.authorization"
        ),
        Some("unauthorized_client") => format!("jeton client set {id} --introspects AUDIENCE"),
        _ => "let the proxy leave the content as it is".to_owned(),
    };
    Said::Nothing(fault(format!("{path} answers {} to {id}", answer.summary()), remedy))
}

/// Asks about a token that does not exist. Also returns the resource server, if it may introspect.
pub(super) async fn examine(visit: &Visit) -> (Vec<Finding>, Option<&Caller>) {
    let check = "introspection.unknown_token";
    let Some(introspector) = &visit.introspector else {
        let remedy = "--introspect-client ID with --introspect-secret-file FILE";
        return (vec![Finding::note(check, "left out: no resource server is named", remedy)], None);
    };
    let faults = match introspect(visit, introspector, &Secret::new(GARBAGE.to_owned())).await {
        Said::Inactive => Vec::new(),
        Said::Active(_) => {
            let remedy = "see that this is Jeton, and that no cache answers";
            vec![fault("introspection says active of a token that there is not", remedy)]
        }
        Said::Nothing(fault) => return (judge(check, "", vec![fault]), None),
    };
    let good = "an unknown token is inactive, and the answer says nothing else of it";
    (judge(check, good, faults), Some(introspector))
}
