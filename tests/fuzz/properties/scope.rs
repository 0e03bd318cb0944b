//! `scope`.

use jeton_oauth::{Reason, Scope};

/// A scope is read exactly as RFC 6749 §3.3 has it, is shown as it was read, has no token twice, and
/// is a set. The second line of the input is another scope.
pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    let first = read(first);
    let second = read(second);
    if let (Some(first), Some(second)) = (first, second) {
        check_sets(&first, &second);
    }
}

fn read(text: &str) -> Option<Scope> {
    let read = Scope::parse(text);
    let tokens: Vec<&str> = text.split(' ').collect();
    let is_allowed = |c: char| ('!'..='~').contains(&c) && c != '"' && c != '\\';
    if tokens.iter().any(|token| token.is_empty() || !token.chars().all(is_allowed)) {
        assert_eq!(read, Err(Reason::MalformedScope));
        // Settings may say that nothing is allowed; a request may not.
        assert_eq!(text.parse::<Scope>().is_ok(), text.is_empty());
        return None;
    }
    let scope = read.expect("a scope");
    let first_named = |(index, token): &(usize, &&str)| !tokens[..*index].contains(token);
    let expected: Vec<&str> =
        tokens.iter().enumerate().filter(first_named).map(|(_, t)| *t).collect();
    assert!(scope.tokens().eq(expected.iter().copied()));
    let shown = scope.to_string();
    assert_eq!(shown, expected.join(" "));
    assert_eq!(Scope::parse(&shown).as_ref(), Ok(&scope));
    assert_eq!(shown.parse().as_ref(), Ok(&scope));
    let json = serde_json::to_string(&scope).expect("a string");
    assert_eq!(serde_json::from_str::<Scope>(&json).expect("a scope"), scope);
    Some(scope)
}

fn check_sets(first: &Scope, second: &Scope) {
    let both = first.clone().union(second);
    let shared = first.filter(|token| second.contains(token));
    for token in both.tokens() {
        assert!(first.contains(token) || second.contains(token));
        assert_eq!(shared.contains(token), first.contains(token) && second.contains(token));
    }
    for part in [first, second] {
        assert!(part.is_within(&both) && shared.is_within(part) && part.is_within(part));
    }
    assert_eq!(first.is_within(second), shared == *first);
    assert_eq!(both.tokens().count() + shared.tokens().count(), {
        first.tokens().count() + second.tokens().count()
    });
    assert_eq!(read(&both.to_string()).as_ref(), Some(&both));
}
