//! Whether the service can be reached, and whether the connection to it is protected.

use super::client::{Link, RequestError};
use super::report::{Finding, quote};
use jeton_oauth::{Seconds, Timestamp};

/// How long before its expiry a certificate should be renewed.
const RENEWAL: Seconds = Seconds::new(14 * 86_400);

/// The codes of OpenSSL that need different remedies (`x509_vfy.h`).
const NOT_YET_VALID: i32 = 9;
const EXPIRED: i32 = 10;
const SELF_SIGNED: [i32; 2] = [18, 19];
const UNKNOWN_ISSUER: [i32; 3] = [2, 20, 21];
const OTHER_NAME: [i32; 2] = [62, 64];

/// The finding for a URL whose scheme protects nothing.
pub(super) fn in_the_clear(url: &str) -> Vec<Finding> {
    let found = format!("{} sends passwords and tokens over the network in the clear", quote(url));
    let remedy = "use https: a certificate (`jeton serve --tls-certificate`), or a proxy that has one; \
                  nothing else was looked at";
    vec![Finding::wrong("connection.scheme", found, remedy)]
}

pub(super) fn judge_link(
    host: &str,
    link: &Result<Link, RequestError>,
    now: Timestamp,
) -> Vec<Finding> {
    let link = match link {
        Ok(link) => link,
        Err(error) => return vec![judge_error(host, error)],
    };
    let mut findings =
        vec![Finding::ok("connection.tcp", format!("{host} answers at {}", link.address))];
    let Some(tls) = &link.tls else {
        let found = "plain HTTP, which is good on one machine only";
        return [findings, vec![Finding::ok("connection.scheme", found)]].concat();
    };
    let found = format!("{}, and a chain that is trusted and names {host}", tls.version);
    findings.push(Finding::ok("connection.tls", found));
    findings.extend(tls.expires_at.map(|at| judge_expiry(at, now)));
    findings
}

fn judge_expiry(at: Timestamp, now: Timestamp) -> Finding {
    let days = at.since(now).get() / 86_400;
    let found = format!("the certificates are valid until {at}, which is in {days} days");
    if at.since(now) >= RENEWAL {
        return Finding::ok("connection.certificate", found);
    }
    let remedy = "renew it; `jeton serve` reads new files by itself, a proxy may have to be told";
    Finding::warning("connection.certificate", found, remedy)
}

fn judge_error(host: &str, error: &RequestError) -> Finding {
    let found = format!("{host}: {error}");
    match error {
        RequestError::Name(_) => Finding::wrong(
            "connection.name",
            found,
            "see that the name is in the DNS, and spelled so",
        ),
        RequestError::Connection(_) | RequestError::Timeout(_) => Finding::wrong(
            "connection.tcp",
            found,
            "see that Jeton or the proxy before it runs, listens on this port, and that no firewall \
             stands between",
        ),
        RequestError::Handshake(_) | RequestError::Protocol(_) => Finding::wrong(
            "connection.tls",
            found,
            "see that this port speaks TLS 1.2 or 1.3: it may be that of plain HTTP",
        ),
        RequestError::Certificate { code, .. } => {
            Finding::wrong("connection.certificate", found, certificate_remedy(*code))
        }
    }
}

fn certificate_remedy(code: i32) -> &'static str {
    match code {
        EXPIRED => "renew the certificate, and any of its issuers that the server sends",
        NOT_YET_VALID => "set the clocks: here, or where the certificate was made",
        code if OTHER_NAME.contains(&code) => {
            "use a certificate that has this name, or the URL that the certificate has"
        }
        code if SELF_SIGNED.contains(&code) => {
            "use a certificate of an authority that clients trust; --ca FILE trusts a private one"
        }
        code if UNKNOWN_ISSUER.contains(&code) => {
            "let the server send its certificate first and then all intermediate ones \
             (--tls-certificate takes the whole chain); --ca FILE trusts a private authority"
        }
        _ => "use a certificate that other TLS clients accept too",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Tls;
    use crate::report::Outcome;

    const NOW: Timestamp = Timestamp(1_700_000_000);

    fn link(expires_in: i64) -> Link {
        let expires_at = Some(NOW.after(Seconds::new(expires_in)));
        let tls = Some(Tls { version: "TLSv1.3", expires_at });
        Link { address: ([127, 0, 0, 1], 443).into(), tls }
    }

    #[test]
    fn a_certificate_is_renewed_in_time() {
        for (days, outcome) in [(15, Outcome::Ok), (14, Outcome::Ok), (13, Outcome::Warning)] {
            let last = judge_link("h", &Ok(link(days * 86_400)), NOW).pop().expect("findings");
            assert_eq!((last.check, last.outcome), ("connection.certificate", outcome), "{days}");
        }
    }

    #[test]
    fn each_error_has_its_own_remedy() {
        let certificate = |code| RequestError::Certificate { code, what: String::new() };
        let errors = [
            RequestError::Name(String::new()),
            RequestError::Connection(String::new()),
            RequestError::Handshake(String::new()),
            certificate(EXPIRED),
            certificate(NOT_YET_VALID),
            certificate(62),
            certificate(18),
            certificate(20),
            certificate(1),
        ];
        let findings = errors.map(|error| judge_link("h", &Err(error), NOW));
        let remedies: std::collections::BTreeSet<_> = findings
            .iter()
            .flatten()
            .map(|finding| finding.remedy.clone().expect("a remedy"))
            .collect();
        assert_eq!(remedies.len(), findings.len());
        assert!(in_the_clear("http://h").iter().all(Finding::is_wrong));
    }
}
