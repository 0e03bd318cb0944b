//! Refresh tokens that were not issued as they are presented: altered, spelled otherwise, put
//! together from others (RFC 6749 §10.4). None of them may do anything, least of all end the session
//! of the token they look like.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};

use super::*;
use crate::harness::{RefreshToken, refresh_form};

/// A service without a retry window, where one genuine use too many would end the session.
struct Target {
    jeton: Jeton,
    /// Rotated away.
    old: String,
    current: String,
    before: Vec<Vec<Option<String>>>,
}

impl Target {
    async fn new() -> Self {
        let jeton = Jeton::start_with(ENGINE, &["--refresh-retry-window", "0s"]).await;
        let old = jeton.login_through("web", "").await.refresh_token();
        let current = jeton.refresh("web", &old, "").await.refresh_token();
        let before = jeton.sessions().await;
        Self { jeton, old, current, before }
    }

    /// Asserts that a token is refused like one that never was, and that nothing changes.
    async fn refuses(&self, case: &str, token: &str) {
        assert!(token != self.old && token != self.current, "{case}");
        let reply = self.jeton.refresh("web", token, "").await;
        assert_eq!(reply.error(), "invalid_grant", "{case}: {token}");
        reply.assert_error(400, "invalid_grant");
        self.jeton.revoke("web", token).await;
        assert_eq!(self.jeton.sessions().await, self.before, "{case}: {token}");
    }

    /// Asserts that the session was not hurt, and would have been by a genuine use.
    async fn is_unhurt(&self) {
        let next = self.jeton.refresh("web", &self.current, "").await.refresh_token();
        self.jeton.refresh("web", &next, "").await.refresh_token();
        self.jeton.refresh("web", &self.old, "").await.assert_error(400, "invalid_grant");
        assert_eq!(self.jeton.sessions().await.len(), 0, "genuine reuse");
    }
}

/// RFC 6749 §10.4: a token with any one character changed is none, and ends no session. [TR-26]
#[tokio::test]
async fn every_character_counts() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let target = Target::new().await;
    for token in [&target.current, &target.old] {
        for position in 0..token.len() {
            let own = ALPHABET.iter().position(|&octet| octet == token.as_bytes()[position]);
            let own = own.expect("base64url");
            // The least that can change, and the most.
            for other in [own ^ 1, own ^ 0b10_0000, own ^ 0b11_1111] {
                let mut altered = token.clone().into_bytes();
                altered[position] = ALPHABET[other];
                let altered = String::from_utf8(altered).expect("ASCII");
                let reply = target.jeton.refresh("web", &altered, "").await;
                assert_eq!(reply.error(), "invalid_grant", "{position}");
                reply.assert_error(400, "invalid_grant");
            }
            assert_eq!(target.jeton.sessions().await, target.before, "{position}");
        }
    }
    target.is_unhurt().await;
}

/// Octets in hexadecimal, each with this before it.
fn in_hexadecimal(octets: &[u8], before: &str) -> String {
    octets.iter().map(|octet| format!("{before}{octet:02x}")).collect::<Vec<_>>().concat()
}

/// RFC 6749 §1.9, Appendix A.17; RFC 4648 §3: a token has one spelling: nothing is trimmed, padded,
/// folded or translated. Only the form may be encoded as every form. [TR-26]
#[tokio::test]
async fn a_token_has_one_spelling() {
    let target = Target::new().await;
    for token in [&target.current, &target.old] {
        let swapped: String = token
            .chars()
            .map(|c| {
                if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
            })
            .collect();
        let octets = URL_SAFE.decode(token).expect("base64url");
        let longer = [&octets[..], &[0]].concat();
        let mut spellings = vec![
            ("the other case", swapped),
            ("upper case", token.to_ascii_uppercase()),
            ("lower case", token.to_ascii_lowercase()),
            ("wide letters", token.replacen('A', "\u{ff21}", 1)),
            ("an accent", token.clone() + "\u{301}"),
            ("a zero-width space", token.clone() + "\u{200b}"),
            ("a byte order mark", format!("\u{feff}{token}")),
            ("in quotes", format!("\"{token}\"")),
            ("a scheme", format!("Bearer {token}")),
            ("encoded twice", percent_encode(token).replace('%', "%25") + "%41"),
            ("an octet more", URL_SAFE.encode(&longer)),
            ("an octet more, no padding", URL_SAFE.encode(&longer).replace('=', "")),
            ("an octet less", URL_SAFE.encode(&octets[..65])),
            ("an octet less, no padding", URL_SAFE.encode(&octets[..65]).replace('=', "")),
            ("a character less", token[..87].to_owned()),
            ("the first character less", token[1..].to_owned()),
            ("without code", URL_SAFE.encode(&octets[..34])),
            ("hexadecimal", in_hexadecimal(&octets, "")),
            ("twice", format!("{token}{token}")),
            ("twice with a dot", format!("{token}.{token}")),
            ("as a JWT", format!("{token}..")),
        ];
        for space in [" ", "\t", "\n", "\r\n", "\u{a0}"] {
            spellings.push(("space before", format!("{space}{token}")));
            spellings.push(("space after", format!("{token}{space}")));
            spellings.push(("space inside", format!("{}{space}{}", &token[..40], &token[40..])));
        }
        for padding in ["=", "==", "A", "AA", "AAAA", "!", "."] {
            spellings.push(("more behind", format!("{token}{padding}")));
        }
        for (name, standard) in [
            ("the other alphabet", STANDARD.encode(&octets)),
            ("the other alphabet, no padding", STANDARD_NO_PAD.encode(&octets)),
        ] {
            if standard != *token {
                spellings.push((name, standard));
            }
        }
        for (case, spelling) in spellings {
            if spelling != *token {
                target.refuses(case, &spelling).await;
            }
        }
    }
    let escaped = in_hexadecimal(target.current.as_bytes(), "%");
    let form = refresh_form("x").replace("=x", &format!("={escaped}"));
    let reply = target.jeton.post_as("web", "/token", &form).send().await;
    assert_eq!(RefreshToken::of(&reply.refresh_token()).generation, 2);
}

/// RFC 6749 §10.4: each part of a token is bound to all the others: parts of genuine tokens make no
/// genuine one, nor does a part that nobody made. [TR-26]
#[tokio::test]
async fn genuine_parts_make_no_genuine_token() {
    let target = Target::new().await;
    let other = target.jeton.login_through("other", "").await.refresh_token();
    let second = target.jeton.login_through("web", "").await.refresh_token();
    let target = Target { before: target.jeton.sessions().await, ..target };
    let parts = RefreshToken::of(&target.current);
    let old = RefreshToken::of(&target.old);
    assert_eq!(parts.join(), target.current);
    for stranger in [RefreshToken::of(&second), RefreshToken::of(&other)] {
        let mac = stranger.mac.clone();
        target.refuses("another's code", &RefreshToken { mac, ..parts.clone() }.join()).await;
        let session = stranger.session.clone();
        let moved = RefreshToken { session, ..parts.clone() };
        target.refuses("another session", &moved.join()).await;
        let moved = RefreshToken { generation: 1, ..stranger };
        target.refuses("another generation", &moved.join()).await;
    }
    let mac = old.mac.clone();
    target.refuses("the old code", &RefreshToken { mac, ..parts.clone() }.join()).await;
    for generation in [0, 2, 3, 255, 256, i64::from(u32::MAX), i64::MIN, i64::MAX, -1] {
        let guessed = RefreshToken { generation, ..parts.clone() };
        target.refuses(&format!("generation {generation}"), &guessed.join()).await;
    }
    for version in [0, 2, 127, 255] {
        let other = RefreshToken { version, ..parts.clone() };
        target.refuses(&format!("version {version}"), &other.join()).await;
    }
    for key in [vec![0; 9], vec![255; 9], parts.key.iter().rev().copied().collect()] {
        target.refuses("an unknown key", &RefreshToken { key, ..parts.clone() }.join()).await;
    }
    for mac in [vec![0; 32], vec![255; 32], parts.mac.iter().rev().copied().collect()] {
        target.refuses("no code", &RefreshToken { mac, ..parts.clone() }.join()).await;
    }
    target.refuses("nothing but zeros", &"A".repeat(88)).await;
    target.refuses("nothing but ones", &"_".repeat(88)).await;
}
